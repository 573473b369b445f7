"""Containers, as what drives a job: images, what they may reach, what they are given."""

from perstack.runtimes.docker.containers import DockerContainers as DockerContainers
from perstack.runtimes.docker.engine import installed_docker as installed_docker
