"""What only a screen has: selection, order, filters, drafts, and the rows of each pane.

Never: textual.
"""
