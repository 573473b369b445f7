"""An image to build on that needs no registry: Debian from a mirror, with all that is asked for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from tests.fakes.docker_engine import Docker, debian_mirror

ROOT: Final = Path(__file__).parents[2]
# With sudo for everybody: that nobody gets more rights must be the container's doing.
PACKAGES: Final = "python3,python3-venv,ca-certificates,curl,squid,dnsmasq-base,sudo"
ROOT_HASH: Final = "$6$canary$of.the.images.own.root"


def why_no_image() -> str | None:
    """Say why no image can be made here, None if one can."""
    if shutil.which("debootstrap") is None or debian_mirror() is None:
        return "there is no debootstrap, or no Debian mirror for it"
    return None


def debian_image(docker: Docker, folder: Path, name: str, *, authority: Path) -> None:
    """Make an image of that name, which trusts `authority` and has the project's wheels."""
    root = folder / "root"
    made = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)]
    subprocess.run([*made, str(debian_mirror())], check=True, capture_output=True, timeout=600)
    wheels_of_here(root / "wheels")
    furnish(root, authority)
    import_root(docker, root, name)
    shutil.rmtree(root)


def wheels_of_here(folder: Path) -> None:
    """Put the wheels of what is installed here into `folder`, in the versions installed here."""
    folder.mkdir()
    pins = folder / "pins.txt"
    here = {f"{each.name}=={each.version}" for each in distributions() if each.name != "perstack"}
    pins.write_text("\n".join(sorted(here)))
    words = ["wheel", "-q", "-w", str(folder), "-c", str(pins), str(ROOT), "hatchling"]
    pip = [shutil.which("pip3") or sys.executable, *words]
    subprocess.run(pip, check=True, capture_output=True, timeout=300)


def import_root(docker: Docker, root: Path, name: str) -> None:
    """Make an image of a root file system."""
    archive = root.with_suffix(".tar")
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True, timeout=120)
    trusted = "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"
    docker.run("import", "--change", trusted, str(archive), name, within_s=300)
    archive.unlink()


def furnish(root: Path, authority: Path) -> None:
    """Add what the tests look for: an authority, the hash of a password, rights for everybody."""
    shutil.copy(authority, root / "usr/local/share/ca-certificates/tests.crt")
    subprocess.run(["chroot", root, "update-ca-certificates"], check=True, capture_output=True)
    shadow = root / "etc/shadow"
    lines = [line.split(":") for line in shadow.read_text().splitlines()]
    hashed = [[name, ROOT_HASH if name == "root" else old, *rest] for name, old, *rest in lines]
    shadow.write_text("".join(":".join(line) + "\n" for line in hashed))
    (root / "etc/sudoers.d/everybody").write_text("ALL ALL=(ALL) NOPASSWD: ALL\n")
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
