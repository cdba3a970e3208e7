"""The garbage collector looks at everything again when a flow is over."""

from __future__ import annotations

import gc

import pytest

from n4a_flows.flows.memory import older_objects_kept


def test_older_objects_are_kept_until_the_outermost_block_ends() -> None:
    with pytest.raises(ValueError, match="in the middle"), older_objects_kept():
        assert gc.get_freeze_count() > 0
        with older_objects_kept():
            pass
        assert gc.get_freeze_count() > 0, "an inner block ends nothing"
        raise ValueError("in the middle")
    assert gc.get_freeze_count() == 0
