"""Camera and drawing surface of the street renderer.

Everything a scene contains is drawn once, as a polygon, into one picture of 32-bit numbers that is
`SUPERSAMPLE` times larger than the result. A number holds the colour and the class. The picture is
the box-filtered colour, the mask is the class at the centre of each pixel, so both come from one
rasterisation and cannot disagree.

World coordinates are metres: X to the right of the camera, Y up from the road, Z ahead. Street
coordinates `(s, z)` follow the road: `s` is the distance from its centre line, `z` is Z.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageDraw

SUPERSAMPLE = 3
NEAR = 0.8  # metres: nothing nearer than this is drawn
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
# A drawn pixel is one 32-bit number: red, green, blue, then class (4 bits), grain (2), cover (1).
_CLASS, _GRAIN, _COVER = 1 << 24, 1 << 28, 1 << 30
_VEIL = 1 << 40  # marks a polygon that changes the class only; never reaches a pixel
_GRAINS = np.array([0.0, 0.04, 0.08, 0.17], dtype=np.float32)

Color = tuple[float, float, float]
Rgb = Color | np.ndarray  # one colour, or one a row
Number = float | np.ndarray
Line = Sequence[float] | np.ndarray
_Option = TypeVar("_Option")

_CAP = np.linspace(-math.pi / 2, math.pi / 2, 6)
_CIRCLE = np.linspace(0.0, 2 * math.pi, 14, endpoint=False)


@dataclass(frozen=True)
class Camera:
    """Pinhole camera that stands on a road and looks along Z, upright but for a small roll.

    Attributes:
        size: (H, W) of the picture in pixels.
        height: Metres above the road.
        horizon: Row of the horizon at the middle column, as a share of H.
        zoom: Focal length in units of `sqrt(H * W * 4 / 3)`.
        yaw: Slope of the road against the viewing direction at the camera.
        curve: Curvature of the road in 1/m.
        offset: Position `s` of the camera across the road in metres.
        roll: Rows that the horizon drops per column.
    """

    size: tuple[int, int]
    height: float
    horizon: float
    zoom: float
    yaw: float
    curve: float
    offset: float
    roll: float

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return self.zoom * math.sqrt(self.size[0] * self.size[1] * 4.0 / 3.0)

    @property
    def center(self) -> tuple[float, float]:
        """Column and row (pixels) where the viewing direction meets the picture."""
        return self.size[1] / 2.0, self.size[0] * self.horizon

    @property
    def nearest(self) -> float:
        """Depth in metres of the nearest visible point of the road."""
        height, width = self.size
        drop = height * (1.0 - self.horizon) + abs(self.roll) * width / 2.0
        return max(NEAR, 0.9 * self.focal * self.height / drop)

    def lane(self, s: Any, z: Any) -> Any:
        """World X of street coordinates (numbers or arrays)."""
        return s - self.offset + self.yaw * z + 0.5 * self.curve * z * z

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) to pixels (..., 2) as (column, row), with pixel centres at .5."""
        cx, cy = self.center
        scale = self.focal / np.maximum(points[..., 2], NEAR * 0.5)
        dx = points[..., 0] * scale
        xy = np.empty((*points.shape[:-1], 2))
        xy[..., 0] = cx + dx
        xy[..., 1] = cy + (self.height - points[..., 1]) * scale + self.roll * dx
        return xy

    def street(self, s: Number, y: Number, z: Number) -> np.ndarray:
        """World points (..., 3) of street coordinates at height y; numbers or arrays."""
        x = np.asarray(self.lane(s, z))
        points = np.empty((*x.shape, 3))
        points[..., 0] = x
        points[..., 1] = y
        points[..., 2] = z
        return points

    def pixels(self, z: float) -> float:
        """Pixels that one metre takes at depth z."""
        return self.focal / max(z, NEAR)


class Canvas:
    """The supersampled picture with its ground shadows and glows.

    Polygons are only noted when they are drawn, and filled all at once by `flush`, which projects
    and colours them in a few array operations.

    Args:
        camera: Where the scene is seen from.
        haze_color: Colour (0..1) that things fade to with distance.
        haze_density: Share per metre in `1 - exp(-density * z)`.
    """

    def __init__(self, camera: Camera, haze_color: Color, haze_density: float) -> None:
        height, width = camera.size
        self.camera = camera
        self.haze_color = np.asarray(haze_color, dtype=np.float64)
        self.haze_density = haze_density
        # The sky is black with full cover; the sky painter fills it in.
        self._image = Image.new(
            "I", (width * SUPERSAMPLE, height * SUPERSAMPLE), _COVER + SKY * _CLASS
        )
        self._draw = ImageDraw.Draw(self._image)
        self._shadow = Image.new("L", (width, height), 0)
        self._shadow_draw = ImageDraw.Draw(self._shadow)
        self._noted: list[tuple] = []
        self.glows: list[tuple] = []
        self.mirrors: list[tuple[float, float, float, float, Color]] = []

    # -- drawing ---------------------------------------------------------------------------------

    def shapes(
        self, xy: np.ndarray, color: Rgb, label: int, z: Number | None = None, grain: int = 0
    ) -> None:
        """Fills N polygons of K corners each.

        Args:
            xy: (N, K, 2) pixels.
            color: (3,) or (N, 3), 0..1 before haze.
            label: Class id.
            z: Depth in metres, number or (N,), for haze; None marks ground, which is hazed,
                textured and shadowed later, pixel by pixel.
            grain: Strength of the texture noise on these polygons, 0..3.
        """
        if len(xy):
            self._noted.append((xy, color, label, z, grain))

    def shape(
        self, xy: np.ndarray, color: Rgb, label: int, z: float | None = None, grain: int = 0
    ) -> None:
        """Fills one polygon (K, 2); see `shapes`."""
        self._noted.append((np.asarray(xy, dtype=np.float64)[None], color, label, z, grain))

    def faces(self, points: np.ndarray, color: Rgb, label: int, grain: int = 0) -> None:
        """Fills N polygons of K corners in the world, (N, K, 3); those too near are left out."""
        if len(points):
            self._noted.append((points, color, label, None, grain))

    def flush(self) -> None:
        """Fills all polygons noted so far."""
        noted, self._noted = self._noted, []
        if not noted:
            return
        counts = np.array([xy.shape[0] for xy, *_ in noted])
        corners = np.repeat([xy.shape[1] for xy, *_ in noted], counts)
        first = np.cumsum(corners) - corners  # first corner of each polygon
        total = int(counts.sum())
        world = np.concatenate(
            [(xy if xy.shape[2] == 3 else _flat(xy)).reshape(-1, 3) for xy, *_ in noted]
        )
        in_world = np.repeat([xy.shape[2] == 3 for xy, *_ in noted], counts)
        color = np.empty((total, 3))
        depth = np.zeros(total)
        code = np.empty(total, dtype=np.int64)
        at = 0
        for (xy, rgb, label, z, grain), count in zip(noted, counts.tolist(), strict=True):
            end = at + count
            color[at:end] = rgb
            code[at:end] = label * _CLASS + grain * _GRAIN
            if z is not None:
                depth[at:end] = z
                if xy.shape[2] == 2 and count == 1 and np.ndim(z) == 0 and z < 0:
                    code[at] += _VEIL
            elif xy.shape[2] == 2:
                code[at:end] += _COVER
            at = end
        corner_in_world = np.repeat(in_world, corners)
        drawn = ~in_world | (np.minimum.reduceat(world[:, 2], first) >= NEAR)
        depth[in_world] = (np.add.reduceat(world[:, 2], first) / corners)[in_world]
        xy = world[:, :2].copy()
        xy[corner_in_world] = self.camera.project(world[corner_in_world])
        height, width = self.camera.size
        low = np.minimum.reduceat(xy, first)
        high = np.maximum.reduceat(xy, first)
        drawn &= (high - low).max(axis=1) > 1.0 / SUPERSAMPLE
        drawn &= (high[:, 0] >= 0) & (high[:, 1] >= 0) & (low[:, 0] < width) & (low[:, 1] < height)
        haze = np.where(code & _COVER, 0.0, 1.0 - np.exp(-self.haze_density * depth))[:, None]
        color += (self.haze_color - color) * haze
        rgb = np.clip(color * 255.0 + 0.5, 0, 255).astype(np.int64)
        ink = code & ~_VEIL
        # Haze softens texture too.
        faded = (ink >> 28) & 3
        ink -= (faded - np.rint(faded * (1.0 - haze[:, 0])).astype(np.int64)) << 28
        ink += rgb[:, 0] + (rgb[:, 1] << 8) + (rgb[:, 2] << 16)
        ink = ink.tolist()
        flat = np.floor(xy * SUPERSAMPLE).ravel().tolist()
        polygon = self._draw.polygon
        start, length = (first * 2).tolist(), (corners * 2).tolist()
        veils = set(np.flatnonzero(code & _VEIL).tolist())
        for k in np.flatnonzero(drawn).tolist():
            corner = flat[start[k] : start[k] + length[k]]
            if k in veils:
                self._veil(corner, (ink[k] >> 24) & 15)
            else:
                polygon(corner, fill=ink[k])

    def capsules(
        self,
        start: np.ndarray,
        end: np.ndarray,
        radius: np.ndarray,
        color: Rgb,
        label: int,
        z: Number,
        grain: int = 0,
    ) -> None:
        """Fills N rounded bars between pixel points (N, 2) with radii (N, 2) at start and end."""
        way = end - start
        angle = np.arctan2(way[:, 1], way[:, 0])[:, None]
        ahead, behind = angle + _CAP, angle + math.pi + _CAP
        tip = end[:, None] + radius[:, 1, None, None] * _directions(ahead)
        tail = start[:, None] + radius[:, 0, None, None] * _directions(behind)
        self.shapes(np.concatenate([tip, tail], axis=1), color, label, z, grain)

    def discs(
        self,
        center: np.ndarray,
        radius: np.ndarray,
        color: Rgb,
        label: int,
        z: Number,
        grain: int = 0,
    ) -> None:
        """Fills N ellipses: centres (N, 2) and half axes (N, 2) in pixels."""
        ring = np.stack([np.cos(_CIRCLE), np.sin(_CIRCLE)], axis=-1)
        self.shapes(center[:, None] + radius[:, None] * ring, color, label, z, grain)

    def veil(self, xy: np.ndarray, label: int) -> None:
        """Gives the pixels of one polygon (K, 2) the class `label` and leaves their colours."""
        self._noted.append((xy[None], (0.0, 0.0, 0.0), label, -1.0, 0))

    def _veil(self, corners: list[float], label: int) -> None:
        xy = np.array(corners).reshape(-1, 2)
        width, height = self._image.size
        x0, y0 = np.maximum(xy.min(axis=0), 0).astype(int).tolist()
        x1, y1 = np.minimum(xy.max(axis=0) + 1, (width, height)).astype(int).tolist()
        inside = Image.new("L", (x1 - x0, y1 - y0), 0)
        ImageDraw.Draw(inside).polygon((xy - (x0, y0)).ravel().tolist(), fill=1)
        numbers = np.array(self._image.crop((x0, y0, x1, y1)))
        changed = (numbers & ~(15 * _CLASS)) | (label * _CLASS)
        np.copyto(numbers, changed, where=np.asarray(inside, dtype=bool))
        self._image.paste(Image.fromarray(numbers), (x0, y0, x1, y1))

    def glow(
        self,
        xy: np.ndarray,
        radius: float,
        color: Color,
        strength: float,
        label: int,
        lamp: Rgb,
        z: float,
    ) -> None:
        """Notes a halo around a lamp, shown if the lamp is still visible in the end.

        Args:
            xy: Pixel (2,) of the lamp.
            radius: Of the halo in pixels.
            color: Of the halo, 0..1.
            strength: Of the halo, 0..1.
            label: Class of the lamp; with the next two it tells whether something hides the lamp.
            lamp: Colour of the lamp.
            z: Depth of the lamp.
        """
        self.glows.append((float(xy[0]), float(xy[1]), radius, color, strength, label, lamp, z))

    def mirror(self, x0: float, x1: float, y0: float, y1: float, color: Color) -> None:
        """Notes that wet ground mirrors something of this colour in columns x0..x1, rows y0..y1."""
        self.mirrors.append((float(x0), float(x1), float(y0), float(y1), color))

    # -- ground ----------------------------------------------------------------------------------

    def ground(self, s: Line, z: Line, color: Rgb, label: int, y: float = 0.0) -> None:
        """Fills one ground polygon, street coordinates (K,), as far as it lies ahead."""
        points = _clip_near(np.stack([np.asarray(s, float), np.asarray(z, float)], axis=-1), NEAR)
        if len(points) < 3:
            return
        world = self.camera.street(points[:, 0], y, points[:, 1])
        self.shape(self.camera.project(world), color, label)

    def strip(
        self,
        s0: float,
        s1: float,
        z0: float,
        z1: float,
        color: Rgb,
        label: int,
        y: float = 0.0,
    ) -> None:
        """Fills the ground between two lines `s0` and `s1` from z0 to z1, along the bends."""
        z0 = max(z0, NEAR)
        if z1 <= z0:
            return
        z = 1.0 / np.linspace(1.0 / z0, 1.0 / z1, 4 + int(14 * (1.0 / z0 - 1.0 / z1) ** 0.3))
        s = np.concatenate([np.full_like(z, s0), np.full_like(z, s1)])
        self.ground(s, np.concatenate([z, z[::-1]]), color, label, y)

    def shadow(self, x: Line, z: Line, strength: float) -> None:
        """Darkens one ground polygon: world X (K,), Z (K,), strength 0..1 (1 = no sun at all)."""
        points = _clip_near(np.stack([np.asarray(x, float), np.asarray(z, float)], axis=-1), NEAR)
        if len(points) < 3:
            return
        world = np.zeros((len(points), 3))
        world[:, ::2] = points
        xy = np.clip(np.floor(self.camera.project(world)), -30000, 30000)
        self._shadow_draw.polygon(xy.ravel().tolist(), fill=int(255 * strength))

    def shadow_discs(self, center: np.ndarray, axes: np.ndarray, strength: float) -> None:
        """`shadow` of N ellipses: centres (N, 2) of world (X, Z), two half axes (N, 2, 2)."""
        ring = np.stack([np.cos(_CIRCLE[::2]), np.sin(_CIRCLE[::2])], axis=-1)  # (K, 2)
        points = center[:, None] + ring @ axes  # (N, K, 2)
        depth = np.maximum(points[..., 1], NEAR)
        world = np.stack([points[..., 0], np.zeros_like(depth), depth], axis=-1)
        xy = np.clip(np.floor(self.camera.project(world)), -30000, 30000)
        height, width = self.camera.size
        seen = (xy.min(axis=1) < (width, height)).all(axis=1) & (xy.max(axis=1) >= 0).all(axis=1)
        for polygon in xy[seen].reshape(-1, 2 * ring.shape[0]).tolist():
            self._shadow_draw.polygon(polygon, fill=int(255 * strength))

    def bar_shadow(
        self,
        foot: tuple[float, float],
        cast: tuple[float, float],
        low: float,
        high: float,
        width: float,
        strength: float,
    ) -> None:
        """`shadow` of an upright bar.

        Args:
            foot: World (X, Z).
            cast: Shadow of one metre of height, world (X, Z).
            low: Height where the bar begins.
            high: Height where it ends.
            width: Half of its width in metres.
            strength: 0..1.
        """
        (x, z), (dx, dz) = foot, cast
        flat = math.hypot(dx, dz) + 1e-6
        nx, nz = -dz / flat * width, dx / flat * width
        x0, x1, z0, z1 = x + dx * low, x + dx * high, z + dz * low, z + dz * high
        self.shadow(
            [x0 - nx, x0 + nx, x1 + nx, x1 - nx], [z0 - nz, z0 + nz, z1 + nz, z1 - nz], strength
        )

    def hull_shadow(self, x: Line, z: Line, strength: float) -> None:
        """`shadow` of the convex hull of ground points."""
        points = hull(np.stack([np.asarray(x, float), np.asarray(z, float)], axis=-1))
        self.shadow(points[:, 0], points[:, 1], strength)

    def sunlit(self, x: float, z: float) -> float:
        """1 where the ground point (world X, Z) lies in the sun, 0 in the full shadow so far."""
        height, width = self.camera.size
        px, py = self.camera.project(np.array([x, 0.0, max(z, NEAR)]))
        px = min(max(int(px), 0), width - 1)
        py = min(max(int(py), 0), height - 1)
        return 1.0 - float(self._shadow.getpixel((px, py))) / 255.0  # type: ignore[arg-type]

    # -- results ---------------------------------------------------------------------------------

    def resolve(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Image.Image]:
        """Turns the picture into arrays of the camera's size.

        Returns:
            Colours (3, H, W) float32 0..255 without sky, cover (H, W) float32 (share of sky or
            ground in a pixel), mask (H, W) uint8, grain (H, W) float32 and the shadow picture.
        """
        self.flush()
        width, height = self._image.size
        raw = self._image.tobytes()
        numbers = np.frombuffer(raw, dtype=np.int32).reshape(height, width)
        packed = raw if sys.byteorder == "little" else numbers.byteswap().tobytes()
        picture = Image.frombuffer("RGBX", (width, height), packed, "raw", "RGBX", 0, 1)
        code = picture.getchannel("X").point([0] * 64 + [255] * 192)
        cover = np.asarray(code.reduce(SUPERSAMPLE)).astype(np.float32) * np.float32(1 / 255)
        small = np.asarray(picture.reduce(SUPERSAMPLE))
        colors = np.empty((3, *self.camera.size), dtype=np.float32)
        for channel in range(3):
            colors[channel] = small[..., channel]
        middle = slice(SUPERSAMPLE // 2, None, SUPERSAMPLE)
        center = numbers[middle, middle] >> 24
        mask = (center & 15).astype(np.uint8)
        grain = _GRAINS[(center >> 4) & 3]
        return colors, cover, mask, grain, self._shadow


def _flat(xy: np.ndarray) -> np.ndarray:
    """Pixels (N, K, 2) as (N, K, 3) with a third coordinate that nothing reads."""
    return np.concatenate([xy, np.zeros((*xy.shape[:2], 1))], axis=2)


def _directions(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _clip_near(points: np.ndarray, near: float) -> np.ndarray:
    """Part of a polygon (K, 2) of (x, z) with z >= near (Sutherland-Hodgman against one line)."""
    if points[:, 1].min() >= near:
        return points
    kept = []
    for (x0, z0), (x1, z1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if z0 >= near:
            kept.append((x0, z0))
        if (z0 >= near) != (z1 >= near):
            t = (near - z0) / (z1 - z0)
            kept.append((x0 + t * (x1 - x0), near))
    return np.array(kept).reshape(-1, 2)


def hull(points: np.ndarray) -> np.ndarray:
    """Convex hull of (K, 2) points, in order (monotone chain)."""
    ordered = sorted(map(tuple, points.tolist()))
    chains = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for p in sequence:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        chains.append(chain[:-1])
    return np.array(chains[0] + chains[1])


def _turn(a: Sequence[float], b: Sequence[float], c: Sequence[float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def tinted(color: Color, gain: float, lift: float = 0.0) -> Color:
    """A colour times `gain` plus `lift`."""
    red, green, blue = color
    return red * gain + lift, green * gain + lift, blue * gain + lift


def pick(
    rng: np.random.Generator,
    options: Sequence[_Option],
    shares: Sequence[float] | None = None,
) -> _Option:
    """One of `options`, with probabilities `shares` if given (cheaper than `rng.choice`)."""
    value = rng.random()
    if shares is None:
        return options[int(value * len(options))]
    for option, share in zip(options, shares, strict=True):
        value -= share
        if value < 0:
            return option
    return options[-1]
