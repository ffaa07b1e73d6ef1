"""Line plots as SVG, both axes logarithmic, with nothing but the standard library."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 200, 50, 60
# Told apart also by those who see fewer colours (Okabe and Ito).
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
TEXT = 'font-family="sans-serif" font-size="12" fill="#222"'


class Axis:
    def __init__(self, values, begin, end):
        self.begin, self.end = begin, end
        self.low, self.high = math.log10(min(values)), math.log10(max(values))
        # Some room beyond what was measured, and never none.
        room = max(0.05, 0.04 * (self.high - self.low))
        self.low, self.high = self.low - room, self.high + room

    def place(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self):
        wide = self.high - self.low > 2
        steps = (1,) if wide else (1, 2, 5)
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps]
        return [tick for tick in ticks if self.low <= math.log10(tick) <= self.high]


def label(value):
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def lines(title, across, up, series, ticks=None):
    """`series` is {name: [(x, y), ...]}, every number above zero; `ticks` are the x to be named."""
    points = [point for line in series.values() for point in line]
    x = Axis([point[0] for point in points], LEFT, WIDTH - RIGHT)
    y = Axis([point[1] for point in points], HEIGHT - BOTTOM, TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
           f"<title>{escape(title)}</title>",
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           f'<text x="{LEFT}" y="28" {TEXT} font-weight="bold">{escape(title)}</text>']
    for tick in ticks or x.ticks():
        at = x.place(tick)
        out.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        out.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" {TEXT} text-anchor="middle">{label(tick)}</text>')
    for tick in y.ticks():
        at = y.place(tick)
        out.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" {TEXT} text-anchor="end">{label(tick)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(f'<text x="{middle}" y="{HEIGHT - 16}" {TEXT} text-anchor="middle">{escape(across)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<text transform="translate(18 {middle}) rotate(-90)" {TEXT} text-anchor="middle">{escape(up)}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        way = "L".join(f"{x.place(a):.1f} {y.place(b):.1f}" for a, b in line)
        out.append(f'<path d="M{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.extend(f'<circle cx="{x.place(a):.1f}" cy="{y.place(b):.1f}" r="3" fill="{colour}"/>' for a, b in line)
        height = TOP + 8 + 20 * number
        at = WIDTH - RIGHT + 14
        out.append(f'<path d="M{at} {height}h18" stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{at + 24}" y="{height + 4}" {TEXT}>{escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])
