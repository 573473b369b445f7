# One Expert as a container: the image fixes the Expert, callers pass the query.
#
#   docker build -t fitness-assistant .
#   docker run --rm -e ANTHROPIC_API_KEY -v "$PWD/workspace:/workspace" fitness-assistant "Start"
#
# The workspace is mounted, so that the history is kept: `--continue` works across containers.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

# Further arguments of pip install, such as --no-index --find-links /wheels.
ARG PIP_INSTALL_ARGS=""
COPY pyproject.toml README.md /opt/perstack-source/
COPY core /opt/perstack-source/core
COPY tui /opt/perstack-source/tui
COPY themes /opt/perstack-source/themes
COPY perstack.toml /opt/perstack-source/perstack.toml
RUN python3 -m venv /opt/perstack \
 && /opt/perstack/bin/pip install --no-cache-dir ${PIP_INSTALL_ARGS} /opt/perstack-source \
 && rm -r /opt/perstack-source \
 && ln -s /opt/perstack/bin/perstack /opt/perstack/bin/perstack-runtime /usr/local/bin/

COPY perstack.toml /app/perstack.toml
WORKDIR /workspace
ENTRYPOINT ["perstack", "start", "--config", "/app/perstack.toml", "fitness-assistant"]
