"""`moorage doctor`: what a cloud has for clusters."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from moorage.cli.context import Context, pass_context
from moorage.cli.output import emit, output_option, progress


@click.command()
@output_option
@pass_context
def doctor(context: Context, output: str) -> None:
    """Check what the cloud has for clusters, and what to do about what it lacks.

    It creates an application credential and a stack without servers, and deletes them. `moorage cloud doctor` checks
    this machine instead, for the local cloud.

    \b
    Example: moorage --cloud mycloud doctor
    Exit codes: 0 clusters can be created · 2 something is missing
    """
    from moorage.clusters.preflight.doctor import examine

    with progress() as report:
        findings = examine(context.cloud(), report)
    emit(output, [asdict(finding) for finding in findings], ["requirement", "state", "found", "fix"])
    if any(finding.state == "missing" for finding in findings):
        sys.exit(2)
