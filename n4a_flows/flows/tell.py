"""Tell somebody what happened: what automations run when a person should look."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.blocks.core import Block


@flow(persist_result=False)
def tell(subject: str, text: str, notification: str | None = None) -> None:
    """Say something in the log and in a report, and send it where a notification block is named.

    Args:
        subject: What it is about, in a few words.
        text: What happened.
        notification: A saved notification block as `TYPE/NAME`, for example `slack-webhook/lab`; without one nothing is sent
            anywhere.

    Raises:
        ValueError: When there is no such block.
    """
    get_run_logger().warning("%s: %s", subject, text)
    create_markdown_artifact(key="n4a-notice", description=subject, markdown=f"# {subject}\n\n{text}\n")
    if notification is not None:
        block: Any = Block.load(notification)
        block.notify(text, subject)
