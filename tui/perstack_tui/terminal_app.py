"""An app with a look of the user's own, on a terminal: themes, settings, clipboard, editor."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from textual.app import SuspendNotSupported
from textual.driver import Driver

from perstack.errors import ConfigError, PerstackError, UsageError
from perstack_tui import editor
from perstack_tui.bugs import last_words, logged
from perstack_tui.outside import LARGEST_COPY, HasMouse, Outside
from perstack_tui.palettes import read_own
from perstack_tui.picture import save_picture
from perstack_tui.places import Places
from perstack_tui.settings import DEFAULT_FILE, Settings, in_short, read_settings
from perstack_tui.state.cockpit import Tone
from perstack_tui.text import flat
from perstack_tui.theme import textual_theme
from perstack_tui.wardrobe import Wardrobe
from perstack_tui.watching import follow
from perstack_tui.widgets.paint import Inked

if TYPE_CHECKING:
    from perstack_tui.opening import Opening

NO_EDITOR_HERE: Final = "there is no terminal here that an editor could have"


class TerminalApp(Inked, inherit_bindings=False):
    """What the cockpit is without a runtime. Nothing here knows of runs."""

    def __init__(self, opening: Opening, driver: type[Driver] | None = None) -> None:
        super().__init__(driver)
        self.opening = opening
        self.settings: Settings = opening.settings
        self.outside = Outside(self._write, opening.environ)
        self.wardrobe = Wardrobe()
        self.wardrobe.take(opening.own_palettes)
        self._worn = 0
        self._mouse_on = self.settings.mouse
        self.editing = False
        self.theme_name = "mono" if self.no_color else opening.theme
        self.chosen_theme: str | None = None
        self._wear(self.theme_name)

    def tell(self, text: str, tone: Tone = "info") -> None:
        """Show a message above the footer."""
        raise NotImplementedError

    def report(self, error: PerstackError) -> None:
        """Show an error with its hint."""
        raise NotImplementedError

    def repaint_all(self) -> None:
        """Paint everything anew: colours, glyphs or keys have changed."""
        raise NotImplementedError

    # --- bugs -------------------------------------------------------------------------------

    def beside(self, work: Callable[[], Awaitable[None]], group: str) -> None:
        """Do `work` beside the screen; a bug in it is logged and told, and ends nothing else."""

        async def guarded() -> None:
            try:
                await work()
            except Exception as bug:  # noqa: BLE001  the edge between a piece of work and the rest
                self.report(logged(bug, self.opening))

        self.run_worker(guarded(), group=group)

    def lost(self) -> str:
        """Return in words what is dropped when the program ends now."""
        return ""

    def _fatal_error(self) -> None:
        """End with a sentence: what Textual prints shows variables, and so secrets."""
        bug = sys.exc_info()[1]
        if bug is not None and not self._exit_renderables:
            self.panic(last_words(bug, self.opening, self.lost()))

    # --- themes -----------------------------------------------------------------------------

    @property
    def theme_names(self) -> tuple[str, ...]:
        """The themes there are."""
        return self.wardrobe.names

    def try_theme(self, name: str) -> None:
        """Wear a theme for now.

        Raises:
            UsageError: there is none of that name.
        """
        self._wear(name)
        self.repaint_all()

    def set_theme(self, name: str) -> None:
        """Wear a theme from now on, also when this folder's cockpit is opened again."""
        try:
            self.try_theme(name)
        except UsageError as error:
            self.report(error)
            return
        self.chosen_theme = name
        self.tell(f"theme: {name}")

    def _wear(self, name: str) -> None:
        self.ink = self.wardrobe.ink(name, self.settings.borders)
        self.theme_name = name
        before, self._worn = self.theme, self._worn + 1
        # A theme of Textual's is worn anew only under another name.
        worn = textual_theme(self.ink.palette, f"{name}-{self._worn}")
        self.register_theme(worn)
        self.theme = worn.name
        if self._worn > 1:
            self.unregister_theme(before)

    # --- settings ---------------------------------------------------------------------------

    async def follow_files(self) -> None:
        """Take in settings and themes as they are saved; a mistake keeps what was before."""
        places = self.opening.places
        if places is None:
            return
        taking = anyio.Lock()

        async def take() -> None:
            async with taking:
                await self._take_files(places)

        await follow((places.settings,), (places.themes,), take)

    async def _take_files(self, places: Places) -> None:
        own, errors = await anyio.to_thread.run_sync(read_own, places.themes)
        changed = self.wardrobe.take(own)
        settings: Settings | None = None
        try:
            settings = await anyio.to_thread.run_sync(
                read_settings, places.settings, self.opening.environ
            )
            if settings.theme not in self.theme_names:
                self.wardrobe.palette(settings.theme)
        except ConfigError as error:
            errors.append(error)
        except UsageError as error:
            errors.append(ConfigError(f"{places.settings.name}: {error.message}", hint=error.hint))
        else:
            self._take_settings(settings)
        if changed and self.theme_name in self.theme_names:
            self.try_theme(self.theme_name)
        if errors:
            kept = "" if settings is not None else "; the settings before stay"
            self.tell(in_short(errors[0]) + kept, "bad")

    def _take_settings(self, settings: Settings) -> None:
        before, self.settings = self.settings, settings
        if settings == before:
            return
        if settings.mouse != before.mouse:
            self.set_mouse(on=settings.mouse)
        wanted = settings.theme if settings.theme != before.theme else self.theme_name
        self.try_theme("mono" if self.no_color else wanted)
        self.tell("cockpit.toml was saved and is in use", "good")

    def edit_settings(self) -> None:
        """Open `cockpit.toml` in the editor; written with its defaults first if there is none."""
        places = self.opening.places
        if places is None:
            self.tell("this cockpit reads no settings", "bad")
            return

        async def edit() -> None:
            try:
                await anyio.to_thread.run_sync(_write_default, places.settings)
            except OSError as error:
                self.tell(f"{places.settings} cannot be written: {error.strerror}", "bad")
            else:
                self.edit_file(places.settings)

        self.beside(edit, "editing")

    def set_mouse(self, *, on: bool | None = None) -> None:
        """Take the mouse, or leave it to the terminal; None turns it round."""
        self._mouse_on = (not self._mouse_on) if on is None else on
        driver = self._driver
        if isinstance(driver, HasMouse):
            driver.set_mouse(on=self._mouse_on)
        self.tell("the mouse is the cockpit's" if self._mouse_on else "the mouse is the terminal's")

    # --- clipboard, pictures ------------------------------------------------------------------

    def copy(self, text: str, what: str) -> None:
        """Put `text` on the clipboard; tell that `what` was copied."""
        if not text:
            self.tell(f"{what}: there is nothing to copy", "bad")
        elif self.outside.copy(text):
            self.tell(f"copied: {what}", "good")
        else:
            most = LARGEST_COPY // 1000
            self.tell(f"{what}: more than {most} kB, which terminals do not take", "bad")

    def save_picture(self, path: Path | None = None) -> None:
        """Save the screen as SVG, secrets left out; tell where."""
        picture = self.export_screenshot(title=flat(self.title))
        opening = self.opening

        async def save() -> None:
            try:
                saved = await anyio.to_thread.run_sync(
                    save_picture, picture, opening.environ, opening.workspace, path
                )
            except OSError as error:
                self.tell(f"the picture cannot be saved: {error.strerror}", "bad")
            except UsageError as error:
                self.report(error)
            else:
                self.tell(f"saved: {saved}", "good")

        self.beside(save, "pictures")

    def _write(self, text: str) -> None:
        driver = self._driver
        if driver is not None and not driver.is_web:
            driver.write(text)

    def greeting(self) -> str:
        """Return what the terminal is told as its screen is taken."""
        return self.outside.greeting()

    def farewell(self) -> str:
        """Return what the terminal is told before its screen is given back."""
        return self.outside.farewell()

    # --- editor -------------------------------------------------------------------------------

    async def edit_text(self, text: str, *, suffix: str = ".md") -> str | None:
        """Have `text` edited in $EDITOR; None when nothing was saved, which is told."""
        sheet = await anyio.to_thread.run_sync(editor.Sheet, text, suffix)
        try:
            used = await self._edit(sheet.path, 1)
            if used is None:
                return None
            saved = await anyio.to_thread.run_sync(sheet.saved)
        except UsageError as error:
            self.report(error)
            return None
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(sheet.close)
        if saved is None:
            wait = used.must_be_told_to_wait
            self.tell(f"{used.name} saved nothing" + ("; it needs --wait" if wait else ""))
        return saved

    def edit_file(self, path: Path, line: int = 1) -> None:
        """Open a file in $EDITOR, at a line from 1."""

        async def edit() -> None:
            try:
                await self._edit(path, line)
            except UsageError as error:
                self.report(error)

        self.beside(edit, "editing")

    async def _edit(self, path: Path, line: int) -> editor.Editor | None:
        """Give the terminal to the editor; return which it was, None when it failed, as told."""
        if self.editing:
            raise UsageError("an editor is open already")
        used = editor.find_editor(self.opening.environ)
        code: int | UsageError
        self.editing = True
        try:
            with self.suspend():
                try:
                    code = await editor.run_editor(used, path, line)
                except UsageError as error:
                    code = error  # Raised in here it would leave the terminal to the shell.
        except SuspendNotSupported:
            raise UsageError(NO_EDITOR_HERE) from None
        finally:
            self.editing = False
        if isinstance(code, UsageError):
            raise code
        if (failed := editor.ending(used, code)) is not None:
            self.tell(f"{failed}; nothing was taken", "bad")
            return None
        return used


def _write_default(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_text(DEFAULT_FILE, "utf-8")
