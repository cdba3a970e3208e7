"""The training flow of the package, with a timeout."""

from __future__ import annotations

from n4a_flows.flows import train_and_record

train_briefly = train_and_record.with_options(name="train-briefly", timeout_seconds=8)
