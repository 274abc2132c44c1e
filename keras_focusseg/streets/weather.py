"""Light and weather of a street scene, and everything that is done per pixel after drawing.

Colours are display values in 0..1: an albedo is multiplied with the light that arrives and the
result is shown through a soft tone curve. That is not radiometry, it is cheap and looks right.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from keras_focusseg.streets.canvas import Camera, Canvas, Color, pick

TILE = 256
_SENSOR = 1 << 19
_APART = 7919  # the noise of the three channels is one sequence read from three places
KINDS = ("clear", "cloudy", "overcast", "low_sun", "dusk", "fog", "rain")
_SHARES = (0.30, 0.20, 0.16, 0.12, 0.07, 0.06, 0.09)


@dataclass(frozen=True)
class Weather:
    """Light of one scene.

    Attributes:
        kind: One of `KINDS`.
        sun: Unit vector towards the sun, (X, Y, Z).
        direct: Colour of the sunlight; 0 behind closed clouds.
        ambient: Colour of the light from the sky.
        zenith: Colour of the sky high up.
        rim: Colour of the sky at the horizon.
        cloud: Share of sky under cloud.
        cloud_color: Of a cloud in the light.
        haze: Colour of the distance.
        density: Of the haze per metre.
        wet: 0 dry .. 1 wet, mirroring road.
        rain: Strength of the streaks.
        lamps: Strength of lamps and lit windows.
        exposure: Of the camera.
        saturation: Of the camera.
        warmth: White balance of the camera.
        blur: Of the lens.
        noise: Of the sensor.
        vignette: How much darker the lens makes the corners.
    """

    kind: str
    sun: tuple[float, float, float]
    direct: Color
    ambient: Color
    zenith: Color
    rim: Color
    cloud: float
    cloud_color: Color
    haze: Color
    density: float
    wet: float
    rain: float
    lamps: float
    exposure: float
    saturation: float
    warmth: float
    blur: float
    noise: float
    vignette: float

    @property
    def shadow(self) -> float:
        """Share of the light on open ground that a shadow takes away."""
        direct = sum(self.direct) * max(self.sun[1], 0.0)
        return direct / (direct + sum(self.ambient))

    @property
    def cast(self) -> tuple[float, float]:
        """Where the shadow of a point one metre up falls, (X, Z) from below it."""
        rise = max(self.sun[1], 0.12)
        return -self.sun[0] / rise, -self.sun[2] / rise

    def light(self, normal: Color, sunlit: float = 1.0) -> np.ndarray:
        """Light (3,) on a surface with the unit normal (X, Y, Z); `sunlit` 0..1 dims the sun."""
        x, y, z = self.sun
        facing = max(0.0, normal[0] * x + normal[1] * y + normal[2] * z) * sunlit
        sky = 0.82 + 0.18 * normal[1]
        return np.array(
            [a * sky + d * facing for a, d in zip(self.ambient, self.direct, strict=True)]
        )


def sample_weather(rng: np.random.Generator) -> Weather:
    """Draws the light of a scene; every number drawn is independent of the picture's size."""
    kind = pick(rng, KINDS, _SHARES)
    azimuth = rng.uniform(-math.pi, math.pi)
    low, high = {"low_sun": (0.16, 0.34), "dusk": (0.05, 0.1)}.get(kind, (0.55, 1.05))
    rise = rng.uniform(low, high)
    sun = (math.sin(azimuth) * math.cos(rise), math.sin(rise), math.cos(azimuth) * math.cos(rise))
    look = {
        "clear": ((0.80, 0.73, 0.60), (0.47, 0.505, 0.57), (0.24, 0.46, 0.80), (0.73, 0.85, 0.95)),
        "cloudy": ((0.62, 0.58, 0.50), (0.54, 0.56, 0.59), (0.33, 0.52, 0.79), (0.80, 0.87, 0.93)),
        "overcast": (
            (0.05, 0.05, 0.05),
            (0.82, 0.84, 0.87),
            (0.66, 0.70, 0.75),
            (0.86, 0.87, 0.88),
        ),
        "low_sun": ((1.05, 0.74, 0.40), (0.46, 0.47, 0.54), (0.34, 0.50, 0.74), (0.99, 0.85, 0.64)),
        "dusk": ((0.20, 0.10, 0.05), (0.36, 0.37, 0.50), (0.17, 0.22, 0.42), (0.93, 0.64, 0.48)),
        "fog": ((0.02, 0.02, 0.02), (0.76, 0.77, 0.79), (0.78, 0.79, 0.80), (0.82, 0.83, 0.83)),
        "rain": ((0.02, 0.02, 0.02), (0.62, 0.65, 0.70), (0.50, 0.54, 0.59), (0.70, 0.73, 0.76)),
    }[kind]
    direct, ambient, zenith, rim = look
    cover = {"clear": 0.12, "cloudy": 0.5, "overcast": 0.85, "low_sun": 0.3, "dusk": 0.45}
    density = {
        "clear": 0.0022,
        "cloudy": 0.0028,
        "overcast": 0.0042,
        "low_sun": 0.0055,
        "dusk": 0.006,
        "fog": 0.024,
        "rain": 0.009,
    }[kind]
    wet = rng.uniform(0.6, 1.0) if kind == "rain" else 0.0
    if kind in ("overcast", "dusk", "fog") and rng.random() < 0.4:
        wet = rng.uniform(0.25, 0.7)
    cloud_color = {
        "low_sun": (1.0, 0.88, 0.74),
        "dusk": (0.78, 0.50, 0.47),
        "overcast": (0.93, 0.93, 0.94),
        "rain": (0.62, 0.64, 0.67),
        "fog": (0.84, 0.84, 0.84),
    }.get(kind, (1.0, 0.99, 0.98))
    red, green, blue = (0.86 * r + 0.14 * a for r, a in zip(rim, ambient, strict=True))
    return Weather(
        kind=kind,
        sun=sun,
        direct=direct,
        ambient=ambient,
        zenith=zenith,
        rim=rim,
        cloud=float(np.clip(cover.get(kind, 0.9) + rng.uniform(-0.12, 0.2), 0.0, 1.0)),
        cloud_color=cloud_color,
        haze=(red, green, blue),
        density=density * rng.uniform(0.7, 1.5),
        wet=wet,
        rain=rng.uniform(0.5, 1.0) if kind == "rain" and rng.random() < 0.7 else 0.0,
        lamps={"dusk": 1.0, "rain": 0.45, "fog": 0.4}.get(kind, 0.0),
        exposure=rng.uniform(0.90, 1.12),
        saturation=rng.uniform(0.85, 1.15),
        warmth=rng.uniform(-0.035, 0.035),
        blur=rng.uniform(0.3, 0.75) if rng.random() < 0.35 else 0.0,
        noise=rng.uniform(1.2, 4.0) * (1.6 if kind == "dusk" else 1.0),
        vignette=rng.uniform(0.05, 0.28),
    )


@lru_cache(maxsize=1)
def noise_tile() -> np.ndarray:
    """Three noise pictures (3, 256, 256), mean 0 and deviation 1, that repeat without a seam.

    Plane 0 is fine grain, 1 middle patches, 2 soft clouds. They are the same for all scenes; each
    scene looks at them from another place.
    """
    rng = np.random.default_rng(20240611)
    spectrum = np.fft.rfft2(rng.standard_normal((3, TILE, TILE)))
    radius = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]) * TILE + 1.0
    power = np.array([0.25, 0.9, 1.65])[:, None, None]
    spectrum = spectrum * radius**-power
    spectrum[:, 0, 0] = 0.0
    tile = np.fft.irfft2(spectrum, s=(TILE, TILE))
    tile = tile / tile.std(axis=(1, 2), keepdims=True)
    return np.round(tile, 4).astype(np.float32)  # rounded: no trace of the FFT library


def finish(
    canvas: Canvas, weather: Weather, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Adds sky, ground texture, shadows, haze, mirrors, glow and the camera to what was drawn.

    Returns:
        The picture (H, W, 3) uint8 and the mask (H, W) uint8.
    """
    camera = canvas.camera
    height, width = camera.size
    colors, cover, mask, grain, shadow = canvas.resolve()
    glows = _visible(canvas, colors, mask)
    cx, cy = camera.center
    columns = np.arange(width, dtype=np.float32) + np.float32(0.5)
    line = (cy + camera.roll * (columns - cx)).astype(np.float32)  # row of the horizon per column
    offsets = rng.integers(0, TILE, size=8)
    scale = max(0.6, width / 480.0)

    pitch = 0.8 / scale  # texture pixels per pixel
    rows_at = _at(np.arange(height) * pitch + offsets[0])
    columns_at = _at(np.arange(width) * pitch + offsets[1])
    grain *= noise_tile()[0][rows_at][:, columns_at]
    grain += 1.0
    colors *= grain

    top = int(min(height, math.ceil(line.max())))
    first = int(max(0, math.floor(line.min())))
    if top > 0:
        above = cover[:top] * (np.arange(top, dtype=np.float32)[:, None] + 0.5 < line)
        sky = _sky(camera, weather, top, offsets)
        for channel in range(3):
            colors[channel, :top] += sky[..., channel] * above
    if first < height:
        _ground(canvas, weather, colors, cover, shadow, line, first, offsets, scale)
    _glow(glows, colors)
    if weather.rain > 0:
        _rain(weather, colors, rng, scale)
    return _camera(weather, colors, rng, scale), mask


def _at(position: np.ndarray) -> np.ndarray:
    """Positions as indices into a noise tile, which repeats."""
    return position.astype(np.int32) & (TILE - 1)


def _sky(camera: Camera, weather: Weather, rows: int, offsets: np.ndarray) -> np.ndarray:
    """Sky picture (rows, W, 3) uint8: gradient, clouds on a flat ceiling, glow of the sun."""
    width = camera.size[1]
    cx, cy = camera.center
    h, w = max(2, rows // 2), max(2, width // 2)
    y = (np.arange(h, dtype=np.float32)[:, None] + np.float32(0.5)) * np.float32(rows / h)
    x = (np.arange(w, dtype=np.float32)[None] + np.float32(0.5)) * np.float32(width / w)
    focal = np.float32(camera.focal)
    up = np.maximum((np.float32(cy) - y) / focal, 0)  # (h, 1), tangent of the elevation
    side = (x - np.float32(cx)) / focal  # (1, w)
    sx, sy, sz = (np.float32(v) for v in weather.sun)
    toward = np.maximum(side * sx + (up * sy + sz), 0) / np.sqrt(side * side + (up * up + 1))
    strength = min(1.0, sum(weather.direct) / 1.8)
    wide = toward * toward
    wide *= wide
    wide *= wide  # power 8
    tight = wide * wide
    tight *= tight
    tight = tight * tight * wide  # power 72
    glow = (np.float32(0.30 * strength) * wide) + np.float32(0.6 * strength) * tight
    tile = noise_tile()
    depth = 70.0 / (up + np.float32(0.11))
    a = tile[2][_at(depth + offsets[2]), _at(side * depth * np.float32(0.9) + offsets[3])]
    b = tile[1][_at(depth * 2.3 + offsets[4]), _at(side * depth * np.float32(2.0) + offsets[5])]
    field = a + b * (np.float32(0.22) * np.minimum(1, up * 4 + np.float32(0.25)))
    density = np.clip((field - np.float32(1.9 - 3.8 * weather.cloud)) * np.float32(0.75), 0, 1)
    density *= density * (3 - 2 * density)
    density *= np.float32(0.92)
    body = 1 - np.float32(0.13) * np.clip(field, -0.5, 2)
    low = np.exp(-9 * up)
    fade = 1 - np.exp(np.float32(-3.2) * up)
    small = np.empty((h, w, 3), dtype=np.uint8)
    for channel in range(3):
        zenith, rim = np.float32(weather.zenith[channel]), np.float32(weather.rim[channel])
        shine = glow * np.float32(weather.direct[channel])
        sky = shine + (rim + (zenith - rim) * fade)
        bright = body * np.float32(weather.cloud_color[channel])
        bright += (rim - bright) * low + np.float32(0.5) * shine
        sky += (bright - sky) * density
        small[..., channel] = np.clip(sky * 255, 0, 255)
    big = Image.fromarray(small).resize((width, rows), Image.Resampling.BILINEAR)
    return np.asarray(big)


def _ground(
    canvas: Canvas,
    weather: Weather,
    colors: np.ndarray,
    cover: np.ndarray,
    shadow: Image.Image,
    line: np.ndarray,
    first: int,
    offsets: np.ndarray,
    scale: float,
) -> None:
    """Textures, shadows, wet mirror and haze of the ground, in place, from row `first` down."""
    camera = canvas.camera
    height, width = camera.size
    rows = np.arange(first, height, dtype=np.float32)[:, None] + np.float32(0.5)
    below = np.maximum(rows - line[None], np.float32(0.25))
    z = np.float32(camera.focal * camera.height) / below
    across = (
        np.arange(width, dtype=np.float32) + np.float32(0.5) - camera.center[0]
    ) / camera.focal
    s = z * (
        across.astype(np.float32) - np.float32(camera.yaw) - z * np.float32(0.5 * camera.curve)
    )
    tile = noise_tile()
    fine = tile[0][_at(z * 23 + offsets[6]), _at(s * 31 + offsets[7])]
    patch = tile[2][_at(z * 7 + offsets[7]), _at(s * 19 + offsets[6])]
    patch += np.float32(0.7) * tile[2][_at(z * 2 + offsets[5]), _at(s * 5 + offsets[4])]
    fine *= np.float32(0.085) / (1 + z * np.float32(0.10 / max(scale, 0.5)))
    texture = 1 + fine + np.float32(0.035) * patch
    share = cover[first:]
    soft = shadow.filter(ImageFilter.GaussianBlur(0.7 * scale))
    dark = np.asarray(soft)[first:] * np.float32(1 / 255)
    up = max(weather.sun[1], 0.05)
    for channel in range(3):
        direct = weather.direct[channel] * up
        # The dark under a car does not need a sun: hence the least loss.
        lost = max(0.40, direct / (direct + weather.ambient[channel] + 1e-6))
        light = (1 - dark * np.float32(lost)) * texture
        light -= 1
        light *= share
        light += 1
        colors[channel, first:] *= light
    if weather.wet > 0:
        _mirror(canvas, weather, colors, share, first, z, patch)
    haze = (1 - np.exp(np.float32(-weather.density) * np.minimum(z, 400))) * share
    for channel in range(3):
        part = colors[channel, first:]
        part += (np.float32(weather.haze[channel] * 255) - part) * haze


def _mirror(
    canvas: Canvas,
    weather: Weather,
    colors: np.ndarray,
    share: np.ndarray,
    first: int,
    z: np.ndarray,
    patch: np.ndarray,
) -> None:
    """Wet ground: what stands above the horizon is seen again below it, smeared downwards."""
    height, width = colors.shape[1:]
    count = height - first
    rows = np.clip(2 * first - np.arange(first, height), 0, height - 1)
    mirrored = np.empty((count, width, 3), dtype=np.uint8)
    for channel in range(3):
        mirrored[..., channel] = np.clip(colors[channel, rows], 0, 255)
    picture = Image.fromarray(mirrored)
    draw = ImageDraw.Draw(picture)
    for x0, x1, y0, y1, color in canvas.mirrors:
        rgb = np.clip((np.asarray(color) * 0.45 + canvas.haze_color * 0.28) * 255, 0, 255)
        draw.rectangle(
            (x0, y0 - first, max(x1, x0), max(y1, y0) - first), fill=tuple(rgb.astype(int).tolist())
        )
    small = picture.resize((max(2, width // 3), max(2, count // 10)), Image.Resampling.BOX)
    smeared = np.asarray(small.resize((width, count), Image.Resampling.BICUBIC))
    weight = np.clip(z / (z + 9) * np.float32(0.85) + np.float32(0.16) * patch, 0, 0.8)
    weight *= share * np.float32(weather.wet)
    darker = 1 - np.float32(0.30 * weather.wet) * share  # wet asphalt is darker
    for channel in range(3):
        part = colors[channel, first:]
        part *= darker
        part += (smeared[..., channel] - part) * weight


def _visible(canvas: Canvas, colors: np.ndarray, mask: np.ndarray) -> list[tuple]:
    """The glows whose lamp is not hidden: its colour must be there in the picture."""
    height, width = mask.shape
    seen = []
    for x, y, radius, color, strength, label, lamp, z in canvas.glows:
        if not (0 <= x < width and 0 <= y < height):
            continue
        column, row = int(x), int(y)
        haze = 1.0 - math.exp(-canvas.haze_density * z)
        expected = (np.asarray(lamp) + (canvas.haze_color - lamp) * haze) * 255.0
        far = np.abs(np.clip(expected, 0, 255) - colors[:, row, column]).max()
        if mask[row, column] == label and (far < 48 or radius < 2.0):
            seen.append((x, y, radius, color, strength))
    return seen


def _glow(glows: list[tuple], colors: np.ndarray) -> None:
    """Adds round halos of lamps, in place."""
    height, width = colors.shape[1:]
    for x, y, radius, color, strength in glows:
        reach = 2.6 * radius
        x0, x1 = max(0, int(x - reach)), min(width, int(x + reach) + 1)
        y0, y1 = max(0, int(y - reach)), min(height, int(y + reach) + 1)
        across = np.exp(-(((np.arange(x0, x1) + 0.5 - x) / radius) ** 2))
        down = np.exp(-(((np.arange(y0, y1) + 0.5 - y) / radius) ** 2))
        halo = (down[:, None] * across[None]).astype(np.float32) * np.float32(255 * strength)
        colors[:, y0:y1, x0:x1] += halo * np.array(color, dtype=np.float32)[:, None, None]


def _rain(weather: Weather, colors: np.ndarray, rng: np.random.Generator, scale: float) -> None:
    """Thin slanted streaks of falling rain, in place."""
    height, width = colors.shape[1:]
    layer = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(layer)
    slant = rng.uniform(-0.2, 0.2)
    for x, y, size in rng.random((int(260 * weather.rain), 3)).tolist():
        length = (0.015 + 0.05 * size * size) * height
        x, y = x * width, y * height
        draw.line((x, y, x + slant * length, y + length), fill=int(30 + 60 * size))
    streaks = layer.filter(ImageFilter.GaussianBlur(0.45 * scale))
    colors += np.asarray(streaks) * np.float32(0.8)


@lru_cache(maxsize=1)
def _sensor_noise() -> np.ndarray:
    return np.random.default_rng(4711).standard_normal(_SENSOR, dtype=np.float32)


def _sensor(count: int, start: int) -> np.ndarray:
    """Normal noise, read from a fixed sequence at a place that is another one in each scene."""
    pool = _sensor_noise()
    if start + count <= _SENSOR:
        return pool[start : start + count]
    return np.resize(np.roll(pool, -start), count)


def _camera(
    weather: Weather, colors: np.ndarray, rng: np.random.Generator, scale: float
) -> np.ndarray:
    """Exposure, colour, tone curve, lens and sensor: (3, H, W) 0..255 to (H, W, 3) uint8."""
    height, width = colors.shape[1:]
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5)) / height - np.float32(0.5)
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5)) / width - np.float32(0.5)
    fall = 1 - np.float32(weather.vignette * 1.6) * (y[:, None] ** 2 + x * x)
    gray = np.float32(0.3) * colors[0] + np.float32(0.59) * colors[1] + np.float32(0.11) * colors[2]
    # The camera exposes for the lower, middle part, but not all the way.
    part = gray[height // 4 :: 4, width // 8 : -width // 8 : 4]
    mean = float(part.mean(dtype=np.float64)) / 255.0
    target = 0.36 if weather.kind == "dusk" else 0.45
    exposure = weather.exposure * round(min(max((target / max(mean, 0.05)) ** 0.6, 0.8), 1.5), 3)
    gray *= np.float32(1 - weather.saturation)
    noise = _sensor(height * width + 2 * _APART, int(rng.integers(_SENSOR // 2)))
    noise = noise * np.float32(weather.noise)
    picture = np.empty((height, width, 3), dtype=np.uint8)
    gains = (1 + weather.warmth, 1.0, 1 - weather.warmth)
    for channel, gain in enumerate(gains):
        value = colors[channel]
        value *= np.float32(weather.saturation)
        value += gray
        value *= fall * np.float32(gain * exposure)
        # Soft shoulder above 200 so that bright walls and clouds keep their shape.
        over = np.maximum(value - 200, 0)
        value += over * 58 / (over + 58) - over
        np.clip(value, 0, 255, out=value)
        picture[..., channel] = value
    if weather.blur > 0:
        soft = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(weather.blur * scale))
        picture = np.array(soft)
    luma = np.float32(0.8) * noise[: height * width].reshape(height, width)
    for channel, chroma in enumerate((0.5, 0.2, 0.6)):
        start = channel * _APART
        own = noise[start : start + height * width].reshape(height, width)
        value = picture[..., channel] + luma + np.float32(chroma) * own
        np.clip(value + np.float32(0.5), 0, 255, out=value)
        picture[..., channel] = value
    return picture
