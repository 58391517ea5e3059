"""The picture at the top of the README: recorded runs on a lock screen, as an SVG that moves by itself.

It is one file with CSS animations and no script, so that it plays where GitHub and PyPI show it as an image. A reader
who asked for less motion, and a viewer without animations, see the last moment of it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from activitysmith_integrations.core.models.requests import EndStreamRequest, StreamRequest
from activitysmith_integrations.sandbox.documents import stream_request
from activitysmith_integrations.sandbox.drawing import FONTS, WIDTH as CARD_WIDTH, draw
from activitysmith_integrations.sandbox.palette import stylesheet
from activitysmith_integrations.sandbox.shapes import box, element, text_line
from activitysmith_integrations.sandbox.streams import Account

WIDTH, HEIGHT = 424, 560
_BEZEL, _MARGIN, _GAP = 10, 20, 10
_SCREEN_WIDTH = WIDTH - 2 * _BEZEL
_CARD_X = (WIDTH - CARD_WIDTH) / 2
_STACK_BOTTOM = HEIGHT - _BEZEL - 34

# Seconds of the picture.
_BLANK, _SHOWN, _LAST, _FADE, _BANNER = 0.8, 1.1, 5.0, 0.3, 3.6
_AT = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)

_STYLE = """\
.screen-a{stop-color:#2d64a8}.screen-b{stop-color:#5a4a99}.screen-c{stop-color:#8c4370}
@media (prefers-color-scheme:dark){
.screen-a{stop-color:#0d1b36}.screen-b{stop-color:#261a47}.screen-c{stop-color:#3a1733}}
@media (prefers-reduced-motion:reduce){.moving{animation:none!important}}
"""


@dataclass(frozen=True)
class _Moment:
    """What the lock screen shows from a change on, newest activity first, and the banner that slides in."""

    cards: tuple[tuple[str, str], ...]
    banner: Mapping[str, str] | None = None


@dataclass
class _Layer:
    """A piece of the screen, and the seconds between which it is seen."""

    drawn: str
    start: float
    end: float
    slides: bool = False


def moving_picture(recordings: Sequence[Path]) -> str:
    """The picture.

    Args:
        recordings: A file for each run, as :func:`pictures.record` writes it. The runs are shown side by side: their
            requests in turns, however long each took.
    """
    moments = list(_moments([json.loads(file.read_text()) for file in recordings]))
    layers = list(_layers(moments))
    length = max(layer.end for layer in layers) + _FADE
    rules, shapes = "", ""
    for number, layer in enumerate(layers):
        rules += _keyframes(f"k{number}", layer, length)
        is_last = layer.end + _FADE >= length and not layer.slides
        # It begins in the middle, since what shows a still of it takes the first moment, and that is an empty screen.
        motion = f"animation:k{number} {length:g}s linear -{length / 2:g}s infinite"
        shapes += element("g", layer.drawn, class_="moving", style=motion, opacity=1 if is_last else 0)
    what = " and ".join(label for _, label in moments[-1].cards)
    return (
        element(
            "svg",
            element("style", _STYLE + stylesheet() + rules)
            + _screen()
            + element("g", shapes, clip_path="url(#screen)")
            + _island(),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            width=WIDTH,
            height=HEIGHT,
            role="img",
            aria_label=f"A lock screen on which two runs start, move and end: {what}",
            font_family=FONTS,
        )
        + "\n"
    )


def _moments(runs: Sequence[Mapping[str, Any]]) -> Iterator[_Moment]:
    """What the screen shows after each request, as the sandbox's rules make it."""
    account = Account(lambda: "activity")
    yield _Moment(())
    for number, (key, request) in enumerate(_in_turns(runs)):
        now = _AT + timedelta(seconds=number)
        if request["method"] == "PUT":
            account.put(key, stream_request(StreamRequest, request["body"]), now)
        else:
            account.delete(key, stream_request(EndStreamRequest, request["body"]), now)
        newest_first = sorted(account.streams, key=lambda stream: stream.started_at, reverse=True)
        cards = tuple((draw(stream.to_json()), stream.state["title"]) for stream in newest_first)
        yield _Moment(cards, request["body"].get("alert"))


def _in_turns(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The requests of all runs, each run's in order: a later run begins two turns after the one before it."""
    places = [
        (turn + 2 * position, position, run["stream_key"], request)
        for position, run in enumerate(runs)
        for turn, request in enumerate(run["requests"])
    ]
    for _, _, key, request in sorted(places, key=lambda place: place[:2]):
        yield key, request


def _layers(moments: Iterable[_Moment]) -> Iterator[_Layer]:
    """The screen's pieces; one that stays where it is from one moment to the next is one piece."""
    moments = list(moments)
    open_layers: dict[tuple[str, float], _Layer] = {}
    now = 0.0
    for number, moment in enumerate(moments):
        until = now + (_BLANK if number == 0 else _LAST if number == len(moments) - 1 else _SHOWN)
        seen: dict[tuple[str, float], _Layer] = {}
        for drawn, y in _placed(moment.cards):
            layer = open_layers.get((drawn, y)) or _Layer(_at(drawn, _CARD_X, y), now, until)
            layer.end = until
            seen[drawn, y] = layer
        yield from (layer for key, layer in open_layers.items() if key not in seen)
        open_layers = seen
        if moment.banner:
            yield _Layer(_banner(moment.banner), now, now + _BANNER, slides=True)
        now = until
    yield from open_layers.values()


def _placed(cards: Sequence[tuple[str, str]]) -> Iterator[tuple[str, float]]:
    """The cards from the bottom of the screen upwards, with the y coordinate of each."""
    y = float(_STACK_BOTTOM)
    for drawn, _ in reversed(cards):
        y -= int(drawn.partition(' height="')[2].partition('"')[0])
        yield drawn, y
        y -= _GAP


def _at(drawn: str, x: float, y: float) -> str:
    return drawn.replace("<svg ", f'<svg x="{x:g}" y="{y:g}" ', 1)


def _keyframes(name: str, layer: _Layer, length: float) -> str:
    """It fades in over what it replaces, and goes once what replaces it has faded in."""

    def percent(seconds: float) -> str:
        return f"{100 * min(max(seconds, 0), length) / length:.2f}%"

    gone, there = ("opacity:0", "opacity:1")
    if layer.slides:
        gone, there = "opacity:0;transform:translateY(-120px)", "opacity:1;transform:none"
    start, end = layer.start, layer.end
    last = end + _FADE >= length
    leaves = (end, end + _FADE) if last or layer.slides else (end + _FADE, end + _FADE + 0.01)
    return (
        f"@keyframes {name}{{0%,{percent(start)}{{{gone}}}{percent(start + _FADE)}{{{there}}}"
        f"{percent(leaves[0])}{{{there}}}{percent(leaves[1])},100%{{{gone}}}}}"
    )


def _screen() -> str:
    stops = "".join(
        element("stop", offset=offset, class_=f"screen-{name}") for name, offset in (("a", 0), ("b", 0.55), ("c", 1))
    )
    gradient = element("linearGradient", stops, id="wallpaper", x1=0, y1=0, x2=0.35, y2=1)
    inside: dict[str, Any] = {"x": _BEZEL, "y": _BEZEL, "width": _SCREEN_WIDTH, "height": HEIGHT - 2 * _BEZEL, "rx": 46}
    clip = element("clipPath", element("rect", **inside), id="screen")
    middle = WIDTH / 2
    white: dict[str, Any] = {"fill": "#fff", "text_anchor": "middle", "font_weight": 600}
    return (
        element("defs", gradient + clip)
        + element("rect", x=0, y=0, width=WIDTH, height=HEIGHT, rx=56, fill="#0a0a0b")
        + element("rect", **inside, fill="url(#wallpaper)")
        + element("text", f"{_AT:%A, %B} {_AT.day}", x=middle, y=92, font_size=19, **white)
        + element("text", f"{_AT.hour}:{_AT:%M}", x=middle, y=176, font_size=86, letter_spacing=-2, **white)
        + element("rect", x=middle - 69, y=HEIGHT - 24, width=138, height=5, rx=2.5, fill="#fff")
    )


def _island() -> str:
    return element("rect", x=WIDTH / 2 - 52, y=22, width=104, height=30, rx=15, fill="#000")


def _banner(alert: Mapping[str, str]) -> str:
    x, y, width = _MARGIN, 62, WIDTH - 2 * _MARGIN
    drawn = box(x, y, width, 84, 24, "surface")
    drawn += text_line(x + 16, y + 25, "ActivitySmith", 12, color="dim")
    drawn += text_line(x + width - 16, y + 25, "now", 12, color="dim", anchor="end")
    drawn += text_line(x + 16, y + 46, alert.get("title", ""), 15, weight=600)
    drawn += text_line(x + 16, y + 67, alert.get("body", ""), 15)
    return element("g", drawn, class_="card")
