"""Drawings of our own for the symbols that are named most often; Apple's cannot be shipped.

Each fills a square of 24 by 24 and takes its color from where it is put. What lies on a filled shape is white.
"""

_WHITE = 'fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round"'
_LINE = 'fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"'
_TRIANGLE_PATH = "M12 3.4 22 20.6a.9.9 0 0 1-.8 1.2H2.8A.9.9 0 0 1 2 20.6Z"
_BOLT_PATH = "M13.6 2 4.8 13.2h5.4L9 22l9.4-12.2h-5.8Z"
_BELL_PATH = (
    "M12 2.5a6.2 6.2 0 0 0-6.2 6.2c0 5-2.3 6.4-2.3 7.9 0 .6.5.9 1.1.9h14.8c.6 0 1.1-.3 1.1-.9 0-1.5-2.3-2.9-2.3-7.9"
    "A6.2 6.2 0 0 0 12 2.5Z"
)
_CHECK, _CROSS = "m7 12.4 3.4 3.5L17 8.8", "m8.4 8.4 7.2 7.2m0-7.2-7.2 7.2"
_HANDS, _ARROWS = (
    "M12 6.6V12l3.6 2.4",
    "M20 11a8 8 0 0 0-14.6-3.4M4 13a8 8 0 0 0 14.6 3.4M5 3.2v4.6h4.6M19 20.8v-4.6h-4.6",
)


def _filled(path: str) -> str:
    return f'<path d="{path}" fill="currentColor" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round"/>'


def _lines(path: str) -> str:
    return f'<path d="{path}" {_LINE}/>'


def _white(path: str) -> str:
    return f'<path d="{path}" {_WHITE}/>'


def _disc(path: str) -> str:
    return f'<circle cx="12" cy="12" r="11" fill="currentColor"/>{_white(path)}'


def _ring(path: str) -> str:
    return f'<circle cx="12" cy="12" r="10" {_LINE}/>{_lines(path)}'


def _solid(path: str) -> str:
    """A filled shape on a disc."""
    white = f'<path d="{path}" fill="#fff" stroke="#fff" stroke-width="1.6" stroke-linejoin="round"/>'
    return f'<circle cx="12" cy="12" r="11" fill="currentColor"/>{white}'


# A small warning at the lower right, cut out of what is behind it by a rim in the color of the card.
_WARNING = (
    '<path class="surface" color="#ffffff" d="M17.4 11 23.6 22.4H11.2Z" fill="currentColor" stroke="currentColor" '
    'stroke-width="3.4" stroke-linejoin="round"/><path d="M17.4 12.4 22.6 21.8H12.2Z" fill="currentColor" '
    f'stroke="currentColor" stroke-width="1.4" stroke-linejoin="round"/><path d="M17.4 15.6v2.6m0 2v.1" {_WHITE}/>'
).replace('stroke-width="2.4"', 'stroke-width="1.5"')
_CLOCK_FILL = _disc(_HANDS)
_PLAY, _PAUSE, _STOP = "M10 7.6v8.8l6.6-4.4Z", "M9.4 8.4v7.2m5.2-7.2v7.2", "M8.6 8.6h6.8v6.8H8.6Z"
_STACK = "M4 5h16v5.4H4Zm0 8.6h16V19H4Z"

SYMBOLS: dict[str, str] = {
    "arrow.clockwise": _lines("M19.6 12a7.6 7.6 0 1 1-2.4-5.5M19.8 3v4.4h-4.4"),
    "arrow.down.circle.fill": _disc("M12 6.6v10.4m-4.4-4.2 4.4 4.4 4.4-4.4"),
    "arrow.triangle.2.circlepath": _lines(_ARROWS),
    "arrow.up.circle.fill": _disc("M12 17.4V7m-4.4 4.2L12 6.8l4.4 4.4"),
    "bell.fill": _filled(_BELL_PATH) + _lines("M9.8 20.4c.4.8 1.2 1.3 2.2 1.3s1.8-.5 2.2-1.3"),
    "bolt": _lines(_BOLT_PATH),
    "bolt.fill": _filled(_BOLT_PATH),
    "bolt.trianglebadge.exclamationmark.fill": _filled("M11.6 1.6 3.2 12.4h5L7 20.8l9-11.8h-5.4Z") + _WARNING,
    "chart.bar.fill": _filled("M3.4 13h3.4v8H3.4Zm6.9-6h3.4v14h-3.4Zm6.9-4h3.4v18h-3.4Z"),
    "checkmark": _lines("m4.4 13 5 5.2L19.6 6"),
    "checkmark.circle": _ring(_CHECK),
    "checkmark.circle.fill": _disc(_CHECK),
    "clock": _ring(_HANDS),
    "clock.badge.exclamationmark.fill": _CLOCK_FILL + _WARNING,
    "clock.fill": _CLOCK_FILL,
    "cloud.fill": _filled("M7 19a4.6 4.6 0 0 1-.6-9.1 6 6 0 0 1 11.5 1.2A4 4 0 0 1 18 19Z"),
    "cpu": _lines(
        "M6.4 6.4h11.2v11.2H6.4Zm3.4 3.4h4.4v4.4H9.8ZM9 2.6v3m6-3v3m-6 12.8v3m6-3v3M2.6 9h3m-3 6h3m12.8-6h3m-3 6h3"
    ),
    "cylinder.split.1x2.fill": _filled("M4 6c0-4 16-4 16 0v3.4c0 3.6-16 3.6-16 0Z")
    + _filled("M4 14c0 3 16 3 16 0v4.4c0 4-16 4-16 0Z"),
    "doc.fill": _filled("M6 2.6h7.4L19 8.2v13.2H6Z"),
    "exclamationmark.circle.fill": _disc("M12 6.6v6.4m0 4.2v.1"),
    "exclamationmark.triangle": _lines(_TRIANGLE_PATH) + _lines("M12 9.8v5m0 3.2v.1"),
    "exclamationmark.triangle.fill": _filled(_TRIANGLE_PATH) + _white("M12 9.6v5.2m0 3.2v.1"),
    "flame.fill": _filled(
        "M12.4 2c.6 3.6 6.2 6 6.2 12a6.6 6.6 0 0 1-13.2 0c0-2.6 1.2-4.6 2.6-6 .2 1.6.8 2.6 1.8 3C9.2 7.6 10 4.2 12.4 2Z"
    ),
    "gearshape.fill": '<circle cx="12" cy="12" r="8" fill="currentColor"/><circle cx="12" cy="12" r="9.2" fill="none" '
    'stroke="currentColor" stroke-width="3" stroke-dasharray="3.6 3.62"/><circle cx="12" cy="12" r="3.2" fill="#fff"/>',
    "hourglass": _lines(
        "M6 2.6h12M6 21.4h12M7.4 2.8c0 5.2 3.4 6.4 4.6 9.2 1.2-2.8 4.6-4 4.6-9.2"
        "M7.4 21.2c0-5.2 3.4-6.4 4.6-9.2 1.2 2.8 4.6 4 4.6 9.2"
    ),
    "info.circle.fill": _disc("M12 7v.1M12 11v6"),
    "pause.circle.fill": _disc(_PAUSE),
    "person.fill": '<circle cx="12" cy="7.4" r="4.8" fill="currentColor"/>' + _filled("M3.6 21c0-9.2 16.8-9.2 16.8 0Z"),
    "play.circle.fill": _solid(_PLAY),
    "play.fill": _filled("M6 3.6v16.8l14-8.4Z"),
    "server.rack": _filled(_STACK) + _white("M7.6 7.7h.1m3 0h.1m-3.2 8.6h.1m3 0h.1"),
    "shippingbox.fill": _filled("m12 2.4 9 4.4v10.4l-9 4.4-9-4.4V6.8Z") + _white("m4.6 7.6 7.4 3.6 7.4-3.6M12 11.2v9"),
    "star.fill": _filled("m12 2.8 2.8 6 6.4.8-4.7 4.5 1.2 6.5L12 17.4l-5.7 3.2 1.2-6.5L2.8 9.6l6.4-.8Z"),
    "stop.circle.fill": _solid(_STOP),
    "timer": _ring("M12 12 8 7.6") + _lines("M12 2v2.6"),
    "xmark": _lines("m5.4 5.4 13.2 13.2m0-13.2L5.4 18.6"),
    "xmark.circle": _ring(_CROSS),
    "xmark.circle.fill": _disc(_CROSS),
}
"""The drawing of each symbol that has one, as SVG elements."""
