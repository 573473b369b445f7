"""The themes there are, shipped and the user's own, and the ink of each."""

from __future__ import annotations

from collections.abc import Mapping

from perstack_tui.palettes import SHIPPED, Palette, load_palette, unknown_theme
from perstack_tui.settings import Borders
from perstack_tui.state.glyphs import SETS
from perstack_tui.theme import Ink


class Wardrobe:
    """Inks by theme and borders; each is made once, until the user's palettes change."""

    def __init__(self) -> None:
        self._own: Mapping[str, Palette] = {}
        self._inks: dict[tuple[str, Borders], Ink] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The shipped themes, then the user's."""
        return (*SHIPPED, *self._own)

    def take(self, own: Mapping[str, Palette]) -> bool:
        """Take the user's palettes as they are now; say whether that changed anything."""
        if own == self._own:
            return False
        self._own = own
        self._inks.clear()
        return True

    def palette(self, name: str) -> Palette:
        """Return a theme's palette.

        Raises:
            UsageError: there is none of that name.
        """
        if name in SHIPPED:
            return load_palette(name)
        if name not in self._own:
            raise unknown_theme(name, self.names)
        return self._own[name]

    def ink(self, name: str, borders: Borders) -> Ink:
        """Return the ink of a theme.

        Raises:
            UsageError: there is none of that name.
        """
        key = (name, borders)
        if key not in self._inks:
            self._inks[key] = Ink(self.palette(name), SETS[borders])
        return self._inks[key]
