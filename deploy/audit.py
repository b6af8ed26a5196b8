"""What the image holds, and whether an advisory names any of it.

    python deploy/audit.py [--sbom FILE]

Reads ``deploy/locks``. Writes a CycloneDX list of all packages with their hashes, and looks each up in the advisories
of the package index. Exits with 1 where one is named; where no advisory can be had, says so and exits with 0.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tools" / "audit"
TOOL_VERSIONS = ("pip-audit==2.10.1", "cyclonedx-bom==7.5.0")
LOCKS = ("requirements.txt", "torch-cuda.txt")


def main(arguments: list[str] | None = None) -> int:
    """Write the list, look for advisories, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--sbom", type=Path, default=ROOT / "build" / "sbom.cdx.json", help="file to write")
    sbom: Path = parser.parse_args(arguments).sbom
    if not installed():
        print("WARNING: the tools could not be installed: packages have NOT been listed and audited", file=sys.stderr)
        return 0
    lock = TOOLS / "all.txt"
    lock.write_text("".join((ROOT / "deploy" / "locks" / name).read_text() for name in LOCKS))
    sbom.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([TOOLS / "bin" / "cyclonedx-py", "requirements", lock, "--output-file", sbom], check=True)
    print(f"{sbom}: {len(json.loads(sbom.read_text())['components'])} packages")
    return report(audit(lock))


def installed() -> bool:
    """Have the tools in an environment of their own."""
    mark = TOOLS / "installed"
    if mark.exists() and mark.read_text().split() == list(TOOL_VERSIONS):
        return True
    venv.create(TOOLS, with_pip=True, clear=True)
    pip = [TOOLS / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *TOOL_VERSIONS]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip()[-500:], file=sys.stderr)
        return False
    mark.write_text("\n".join(TOOL_VERSIONS))
    return True


def audit(lock: Path) -> list[dict[str, object]]:
    """What the advisories say of each package; empty when they cannot be asked."""
    command = [TOOLS / "bin" / "pip-audit", "--disable-pip", "--no-deps", "--progress-spinner=off", "--format=json"]
    done = subprocess.run([*command, "--requirement", lock], capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, object]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(done.stderr.strip()[-500:], file=sys.stderr)
        return []
    return found


def report(found: list[dict[str, object]]) -> int:
    """Print what was found; 1 when an advisory names a package."""
    audited = [package for package in found if "vulns" in package]
    for package in audited:
        for advisory in package["vulns"]:  # type: ignore[attr-defined]
            fixed = ", ".join(advisory["fix_versions"]) or "none"
            print(f"{package['name']} {package['version']}: {advisory['id']}; fixed in {fixed}")
    unknown = len(found) - len(audited)
    if not audited:
        print("WARNING: no advisory could be asked here: packages have NOT been audited", file=sys.stderr)
    elif unknown:
        print(f"WARNING: {unknown} of {len(found)} packages are unknown to the advisories", file=sys.stderr)
    print(f"{len(audited)} packages audited")
    return 1 if any(package["vulns"] for package in audited) else 0


if __name__ == "__main__":
    sys.exit(main())
