"""What the shared tables hold, over the same services as everything else that changes them."""

from perstack_tui.local.records.records import LocalRecords

__all__ = ["LocalRecords"]
