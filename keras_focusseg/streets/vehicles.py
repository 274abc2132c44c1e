"""Cars, vans and buses: low-poly bodies with glass, wheels and lights, at any heading."""

import math
from dataclasses import dataclass

import numpy as np

from keras_focusseg.streets.canvas import (
    CAR,
    NEAR,
    Canvas,
    Color,
    hull,
    pick,
)
from keras_focusseg.streets.weather import Weather

# Length, width, height, belt line, bonnet height, boot height in metres; then stations along the
# length, as shares of it from the tail: foot of the rear glass, roof rear, roof front, foot of the
# windscreen.
BODIES = {
    "hatch": (3.95, 1.72, 1.46, 0.92, 0.84, 0.90, 0.02, 0.13, 0.60, 0.75),
    "saloon": (4.55, 1.80, 1.44, 0.92, 0.82, 0.93, 0.13, 0.26, 0.60, 0.74),
    "estate": (4.60, 1.80, 1.48, 0.93, 0.83, 0.92, 0.01, 0.07, 0.62, 0.76),
    "suv": (4.55, 1.88, 1.72, 1.06, 0.98, 1.05, 0.02, 0.10, 0.62, 0.75),
    "van": (5.20, 1.98, 2.25, 1.16, 1.02, 1.16, 0.004, 0.02, 0.76, 0.88),
    "bus": (11.0, 2.50, 3.05, 1.15, 1.15, 1.15, 0.002, 0.01, 0.985, 0.998),
}
PAINTS = (
    (0.82, 0.83, 0.84),
    (0.62, 0.64, 0.66),
    (0.16, 0.17, 0.18),
    (0.34, 0.36, 0.38),
    (0.55, 0.10, 0.10),
    (0.12, 0.22, 0.46),
    (0.88, 0.88, 0.86),
    (0.20, 0.34, 0.26),
    (0.72, 0.60, 0.42),
    (0.30, 0.42, 0.56),
    (0.78, 0.68, 0.14),
    (0.45, 0.18, 0.24),
)


@dataclass(frozen=True)
class Car:
    """A vehicle.

    Attributes:
        s: Of the centre, across the road.
        z: Of the centre, along the road.
        heading: Direction of travel in radians; 0 away from the camera, pi towards it.
        body: A key of `BODIES`.
        paint: Albedo.
        braking: Whether its tail lamps are lit.
    """

    s: float
    z: float
    heading: float
    body: str
    paint: Color
    braking: bool

    @property
    def near(self) -> float:
        """Depth of the end nearest to the camera."""
        length, width = BODIES[self.body][:2]
        c, s = abs(math.cos(self.heading)), abs(math.sin(self.heading))
        return self.z - (c * length + s * width) / 2


def sample_car(
    rng: np.random.Generator, s: float, z: float, heading: float, parked: bool = False
) -> Car:
    """Draws a vehicle at (s, z)."""
    shares = (0.30, 0.20, 0.14, 0.20, 0.12, 0.04) if not parked else (0.36, 0.2, 0.15, 0.2, 0.09, 0)
    body = pick(rng, tuple(BODIES), shares)
    paint = np.array(PAINTS[int(rng.integers(len(PAINTS)))])
    if body == "van" and rng.random() < 0.6:
        paint = np.array((0.86, 0.86, 0.85))
    if body == "bus":
        paint = np.array(PAINTS[pick(rng, (4, 5, 7, 10, 6))])
    return Car(
        s,
        z,
        heading,
        body,
        tuple(np.clip(paint * rng.uniform(0.9, 1.08), 0, 0.95).tolist()),
        bool(rng.random() < 0.35),
    )


class _Frame:
    """Places car coordinates (u ahead, v to its right, y up) in the world."""

    def __init__(self, cv: Canvas, car: Car) -> None:
        slope = cv.camera.yaw + cv.camera.curve * car.z
        angle = car.heading + (math.atan(slope) if abs(math.cos(car.heading)) > 0.7 else 0.0)
        self.cos, self.sin = math.cos(angle), math.sin(angle)
        self.x, self.z = float(cv.camera.lane(car.s, car.z)), car.z
        self.eye = (-self.x * self.sin - self.z * self.cos, -self.x * self.cos + self.z * self.sin)
        self.height = cv.camera.height

    def world(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) of (u, v, y) to (..., 3) of (X, Y, Z)."""
        u, v, y = points[..., 0], points[..., 1], points[..., 2]
        world = np.empty(points.shape)
        world[..., 0] = self.x + u * self.sin + v * self.cos
        world[..., 1] = y
        world[..., 2] = self.z + u * self.cos - v * self.sin
        return world

    def normal(self, u: float, v: float, y: float) -> tuple[float, float, float]:
        """World direction of a direction in the car."""
        size = math.sqrt(u * u + v * v + y * y)
        return (
            (u * self.sin + v * self.cos) / size,
            y / size,
            (u * self.cos - v * self.sin) / size,
        )

    def sees(self, point: Color, normal: Color) -> bool:
        """Whether the camera is on the outer side of a face (car coordinates)."""
        return (
            (self.eye[0] - point[0]) * normal[0]
            + (self.eye[1] - point[1]) * normal[1]
            + (self.height - point[2]) * normal[2]
        ) > 0


def draw_car(cv: Canvas, weather: Weather, car: Car, sunlit: float) -> None:
    """Draws a vehicle; `sunlit` 0..1 dims the sun on it."""
    if car.near < NEAR + 0.5:
        return
    body = _Body(cv, weather, car, sunlit)
    body.underside()
    body.shell()
    if car.body == "bus":
        body.bus_upper()
    else:
        body.cabin()
    body.draw()


class _Body:
    """Collects the faces of one vehicle, back to front, in car coordinates (u, v, y)."""

    def __init__(self, cv: Canvas, weather: Weather, car: Car, sunlit: float) -> None:
        self.cv, self.weather, self.car, self.sunlit = cv, weather, car, sunlit
        self.length, self.width, self.top, self.belt, self.hood, self.boot, *at = BODIES[car.body]
        self.u_rear, self.u_roof0, self.u_roof1, self.u_front = (
            self.length * (t - 0.5) for t in at
        )
        self.back, self.nose, self.w = -self.length / 2, self.length / 2, self.width / 2
        self.tall = car.body in ("van", "bus")
        self.floor = 0.36 if self.tall or car.body == "suv" else 0.26
        self.round = 0.10 if self.tall else 0.24  # how far the corners are cut in plan
        self.frame = _Frame(cv, car)
        self.size = cv.camera.pixels(car.near)  # pixels of a metre
        self.paint = np.array(car.paint)
        self.sky = 0.5 * (np.array(weather.zenith) + np.array(weather.rim))
        self.glass = np.array([0.075, 0.09, 0.105]) + 0.15 * self.sky
        self.mirror = 0.60 * self.glass + 0.40 * self.sky
        self._lights: dict = {}
        self._corners: list = []
        self._faces: list[tuple[int, np.ndarray]] = []

    def fill(self, points: list, albedo: np.ndarray, normal: Color | None = None) -> None:
        """Adds one face; without a normal the colour is taken as it is (glass, lamps)."""
        if normal is not None:
            light = self._lights.get(normal)
            if light is None:
                light = self.weather.light(self.frame.normal(*normal), self.sunlit)
                self._lights[normal] = light
            albedo = albedo * light
        self._corners.extend(points)
        self._faces.append((len(points), albedo))

    def draw(self) -> None:
        """Hands all faces to the canvas."""
        world = self.frame.world(np.array(self._corners))
        at = 0
        for count, color in self._faces:
            self.cv.faces(world[None, at : at + count], color, CAR)
            at += count

    def underside(self) -> None:
        """The dark under the body and the tyres that show below the bumpers."""
        dark = 0.05 + 0.04 * np.array(self.weather.ambient)
        solid = []
        for e, cut, edge in ((1, 1.3 * self.round, self.hood), (-1, self.round, self.boot)):
            for v in (-self.w, self.w):
                inner, narrow = e * (self.nose - cut), math.copysign(self.w - 0.18, v)
                solid += [(inner, v, self.floor), (e * self.nose, narrow, self.floor)]
                solid += [(inner, v, 0.95 * edge), (e * self.nose, narrow, 0.90 * edge)]
        for u in (self.u_rear, self.u_front):
            solid += [(u, -self.w, self.belt), (u, self.w, self.belt)]
        xy = hull(self.cv.camera.project(self.frame.world(np.array(solid))))
        self.cv.shape(xy, self.paint * 0.4, CAR, self.car.near)  # nothing shows through the seams
        a, b, w, y = self.back + 0.2, self.nose - 0.2, self.w - 0.03, self.floor + 0.06
        for u in (a, b):
            self.fill(_end(u, -w, w, 0.17, y), dark)
        for v in (-w, w):
            self.fill([(a, v, 0.17), (b, v, 0.17), (b, v, y), (a, v, y)], dark)
        for u in self.axles:
            for side in (-1, 1):
                v0, v1 = side * w, side * (w - 0.22)
                for du in (-0.10, 0.10):
                    self.fill(_end(u + du, v0, v1, 0.016, y + 0.05), dark * 0.75)

    @property
    def axles(self) -> tuple[float, float]:
        """Where the rear and the front wheels are."""
        if self.car.body == "bus":
            return -0.27 * self.length, 0.30 * self.length
        return -0.30 * self.length, 0.325 * self.length

    def shell(self) -> None:
        """Lower body: sides, cut corners, nose and tail, bonnet and boot lid."""
        w, cut, paint = self.w, self.round, self.paint
        frame, floor = self.frame, self.floor
        rear, front = self.back + cut, self.nose - cut * 1.3
        self.sides = [d for d in (-1, 1) if frame.sees((0, d * w, 0.7), (0, d, 0))]
        ends = [e for e in (-1, 1) if frame.sees((e * self.nose, 0, 0.7), (e, 0, 0))]
        for side in self.sides:
            v = side * w
            normal = (0, side, 0)
            outline = [
                (rear, v, floor),
                (front, v, floor),
                (front, v, self.hood * 0.93),
                (self.u_front - 0.05, v, self.belt),
                (self.u_rear, v, self.belt),
                (rear, v, self.boot * 0.97),
            ]
            self.fill(outline, paint * 0.97, normal)
            if self.size > 12:
                # The lower part is darker, the shoulder catches the sky.
                self.fill(
                    [(rear, v, floor), (front, v, floor), (front, v, 0.46), (rear, v, 0.46)],
                    paint * 0.66,
                    normal,
                )
                top = self.belt - 0.05
                self.fill(
                    [
                        (rear, v, top - 0.13),
                        (front, v, self.hood * 0.93 - 0.14),
                        (front, v, self.hood * 0.93 - 0.06),
                        (rear, v, top),
                    ],
                    paint * 0.80 + 0.16 * self.sky,
                    normal,
                )
        for e in (-1, 1):
            inner = (self.nose if e > 0 else -self.back) - (cut * 1.3 if e > 0 else cut)
            for side in (-1, 1):
                slope = (e * w * 0.3, side * cut, 0)
                if not frame.sees((e * inner, side * w, 0.6), slope):
                    continue
                edge = self.hood if e > 0 else self.boot
                near_v = side * (w - 0.18)
                corner = [
                    (e * inner, side * w, floor),
                    (e * self.nose, near_v, floor + 0.02),
                    (e * self.nose, near_v, edge * 0.90),
                    (e * inner, side * w, edge * 0.95),
                ]
                self.fill(corner, paint * 0.97, slope)
                self._corner_lamp(e, side, inner, near_v, slope)
        for side in self.sides:
            self._side_details(side, rear, front)
        for e in ends:
            edge = self.hood if e > 0 else self.boot
            self.fill(
                _end(e * self.nose, 0.18 - w, w - 0.18, floor + 0.02, edge * 0.90), paint, (e, 0, 0)
            )
        deck = self.weather.light((0.0, 1.0, 0.0), self.sunlit)
        shine = paint * deck * 0.70 + 0.27 * self.sky
        for e, foot, edge, inner in (
            (1, self.u_front, self.hood, front),
            (-1, self.u_rear, self.boot, -rear),
        ):
            lid = [
                (foot, -w, self.belt),
                (foot, w, self.belt),
                (e * abs(inner), w * 0.99, edge * 0.95),
                (e * (self.nose - 0.02), w - 0.18, edge * 0.90),
                (e * (self.nose - 0.02), 0.18 - w, edge * 0.90),
                (e * abs(inner), -w * 0.99, edge * 0.95),
            ]
            self.fill(lid, shine)
        self.fill(
            [
                (self.u_front, -w, self.belt),
                (self.u_front, w, self.belt),
                (self.u_rear, w, self.belt),
                (self.u_rear, -w, self.belt),
            ],
            paint * 0.5,
        )
        for e in ends:
            self._end_details(e)

    def _corner_lamp(self, e: int, side: int, inner: float, near_v: float, slope: Color) -> None:
        """The part of a lamp that wraps around the corner."""
        if self.size < 7 or self.car.body == "bus":
            return
        high = (self.hood if e > 0 else self.boot) * 0.90 - 0.07
        low = high - (0.15 if e > 0 else 0.20)
        a, b = 0.35, 1.0
        u0, v0 = e * (inner + (self.nose - inner) * a), side * self.w + (near_v - side * self.w) * a
        color = np.array([0.86, 0.86, 0.82]) if e > 0 else np.array([0.50, 0.05, 0.05])
        out = 1.004
        self.fill(
            [
                (u0 * out, v0 * out, low + 0.02),
                (e * self.nose * out, near_v * b * out, low),
                (e * self.nose * out, near_v * out, high),
                (u0 * out, v0 * out, high),
            ],
            color,
            slope,
        )

    def cabin(self) -> None:
        """Roof, glass and pillars."""
        w, top, belt = self.w, self.top, self.belt
        wide, roof_w = w * 0.97, w * (0.90 if self.tall else 0.78)
        frame, size = self.frame, self.size
        if frame.height > top:
            deck = self.weather.light((0.0, 1.0, 0.0), self.sunlit)
            roof = [
                (self.u_roof0, -roof_w, top),
                (self.u_roof1, -roof_w, top),
                (self.u_roof1, roof_w, top),
                (self.u_roof0, roof_w, top),
            ]
            self.fill(roof, self.paint * deck * 0.8 + 0.2 * self.sky)
        for side in self.sides:
            if not frame.sees((0, side * roof_w, top), (0, side, (w - roof_w) / (top - belt))):
                continue
            corners = [
                (self.u_rear, side * wide, belt),
                (self.u_front, side * wide, belt),
                (self.u_roof1, side * roof_w, top),
                (self.u_roof0, side * roof_w, top),
            ]
            self.fill(corners, self.paint * 0.93, (0, side, 0.25))
            self._side_glass(corners)
        for e, foot, head in ((1, self.u_front, self.u_roof1), (-1, self.u_rear, self.u_roof0)):
            slope = (e * (top - belt), 0, abs(foot - head))
            if not frame.sees((foot, 0, belt), slope):
                continue
            corners = [
                (foot, -wide, belt),
                (foot, wide, belt),
                (head, roof_w, top),
                (head, -roof_w, top),
            ]
            self.fill(corners, self.paint * 0.92, slope)
            if self.car.body == "van" and e < 0:
                for a in (0.05, 0.53):
                    self.fill(_inset(corners, a, a + 0.42, 0.28, 0.82), self.glass)
                    self.fill(_inset(corners, a, a + 0.42, 0.55, 0.82), self.mirror)
                continue
            self.fill(_inset(corners, 0.05, 0.95, 0.05, 0.91), self.glass)
            self.fill(_inset(corners, 0.06, 0.94, 0.52, 0.91), self.mirror)
            if size > 17:  # seats and heads behind the glass
                for t in (0.28, 0.72):
                    self.fill(_inset(corners, t - 0.075, t + 0.075, 0.10, 0.58), self.glass * 0.62)
                    self.fill(_inset(corners, t - 0.05, t + 0.05, 0.58, 0.74), self.glass * 0.75)
            if size > 22:
                streak = _inset(corners, 0.10, 0.34, 0.06, 0.90)
                streak[2:] = _inset(corners, 0.22, 0.46, 0.06, 0.90)[2:]
                self.fill(streak, 0.80 * self.mirror + 0.20 * self.sky)

    def _side_glass(self, corners: list) -> None:
        if self.car.body == "van":
            self.fill(_inset(corners, 0.70, 0.93, 0.12, 0.68), self.glass)
            self.fill(_inset(corners, 0.70, 0.93, 0.42, 0.68), self.mirror)
            return
        self.fill(_inset(corners, 0.05, 0.96, 0.06, 0.86), self.glass)
        self.fill(_inset(corners, 0.06, 0.95, 0.52, 0.86), self.mirror)
        if self.size > 7:
            for a in (0.46,) if self.car.body == "hatch" else (0.50, 0.20):
                self.fill(_inset(corners, a - 0.016, a + 0.016, 0.04, 0.90), self.glass * 0.5)

    def bus_upper(self) -> None:
        """The upper half of a bus: walls with a band of windows."""
        w, top, belt = self.w, self.top, self.belt
        for side in self.sides:
            corners = [
                (self.back, side * w, belt),
                (self.nose, side * w, belt),
                (self.nose, side * w, top),
                (self.back, side * w, top),
            ]
            self.fill(corners, self.paint * 0.97, (0, side, 0))
            self.fill(_inset(corners, 0.02, 0.98, 0.10, 0.62), self.glass)
            self.fill(_inset(corners, 0.02, 0.98, 0.38, 0.62), self.mirror)
            for a in np.linspace(0.1, 0.9, 8).tolist():
                self.fill(_inset(corners, a - 0.006, a + 0.006, 0.10, 0.62), self.glass * 0.6)
            self.fill(_inset(corners, 0.0, 1.0, 0.0, 0.05), self.paint * 0.5 + 0.4, (0, side, 0))
        for e in (-1, 1):
            if not self.frame.sees((e * self.nose, 0, 1.5), (e, 0, 0)):
                continue
            u, face = e * (self.nose + 0.012), (e, 0, 0)
            self.fill(_end(u, -w, w, belt * 0.9, top), self.paint * 0.97, face)
            low = 1.15 if e > 0 else 1.55
            self.fill(_end(u, -w * 0.9, w * 0.9, low, 2.42), self.glass)
            self.fill(_end(u, -w * 0.9, w * 0.9, 1.95, 2.42), self.mirror)
            self.fill(_end(u, -w * 0.6, w * 0.6, 2.58, 2.88), np.full(3, 0.06))
            self.fill(_end(u, -w * 0.38, w * 0.30, 2.66, 2.80), np.array([0.95, 0.66, 0.16]))

    def _side_details(self, side: int, rear: float, front: float) -> None:
        """Wheels, doors, handles, mirror."""
        v, out = side * self.w, side * (self.w + 0.012)
        normal, paint = (0, side, 0), self.paint
        radius = {"bus": 0.48, "van": 0.36, "suv": 0.37}.get(self.car.body, 0.315)
        black = np.full(3, 0.055)
        count = 14 if self.size > 9 else 8

        def wheel(u: float, share: float, rise: float = 0.0) -> list:
            return [
                (
                    u + radius * share * math.cos(a),
                    out,
                    max(radius + rise + radius * share * math.sin(a), 0),
                )
                for a in np.linspace(0, 2 * np.pi, count, endpoint=False).tolist()
            ]

        for u in self.axles:
            arch = [(p, q, max(y, self.floor)) for p, q, y in wheel(u, 1.22, 0.04)]
            self.fill(arch, black * 0.6, normal)
            self.fill(wheel(u, 1.0), black * 1.3, normal)
            if self.size > 9:
                self.fill(wheel(u, 0.66), np.full(3, 0.50), normal)
            if self.size > 24:
                for k in range(5):
                    turn = k * 2 * math.pi / 5 + u
                    c, s = math.cos(turn), math.sin(turn)
                    spoke = [
                        (u + radius * (a * c - b * s), out, radius * (1 + a * s + b * c))
                        for a, b in ((0.16, 0.10), (0.58, 0.16), (0.58, -0.16), (0.16, -0.10))
                    ]
                    self.fill(spoke, black * 2.8, normal)
                self.fill(wheel(u, 0.16), np.full(3, 0.42), normal)
        if self.size > 17 and self.car.body != "bus":
            doors = [self.u_front - 0.25, (self.u_front + self.u_rear) / 2 - 0.05]
            if self.car.body in ("saloon", "estate", "suv"):
                doors.append(self.u_rear + 0.35)
            for u in doors:
                self.fill(
                    [
                        (u - 0.011, out, 0.34),
                        (u + 0.011, out, 0.34),
                        (u + 0.011, out, self.belt),
                        (u - 0.011, out, self.belt),
                    ],
                    paint * 0.45,
                    normal,
                )
            y = self.belt - 0.18
            for u in (doors[1] + 0.08, self.u_front - 1.1):
                self.fill(
                    [
                        (u, out, y),
                        (u + 0.17, out, y),
                        (u + 0.17, out, y + 0.035),
                        (u, out, y + 0.035),
                    ],
                    paint * 0.5 + 0.12,
                    normal,
                )
            self.fill(
                [(rear, out, 0.46), (front, out, 0.46), (front, out, 0.49), (rear, out, 0.49)],
                paint * 0.5,
                normal,
            )
            u, far = self.u_front - 0.22, v + side * 0.17
            self.fill(
                [
                    (u, v, self.belt - 0.07),
                    (u, far, self.belt - 0.07),
                    (u, far, self.belt + 0.08),
                    (u, v, self.belt + 0.08),
                ],
                paint * 0.75,
                normal,
            )

    def _end_details(self, e: int) -> None:
        """Bumper, lamps, plate and grille of the nose (e = 1) or the tail (e = -1)."""
        w, floor, car, weather = self.w, self.floor, self.car, self.weather
        u, face = e * (self.nose + 0.012), (e, 0, 0)
        black = np.full(3, 0.07)
        edge = (self.hood if e > 0 else self.boot) * 0.90
        self.fill(_end(u, 0.14 - w, w - 0.14, floor, floor + 0.15), black * 1.6, face)
        high = min(edge - 0.06, 0.88 if self.tall else 0.80)
        wide, tallness = (0.30, 0.15) if e > 0 else (0.24, 0.20)
        if self.tall and e < 0:
            wide, tallness = 0.16, 0.42
        color = np.array([0.88, 0.88, 0.84]) if e > 0 else np.array([0.52, 0.05, 0.05])
        dark = weather.lamps > 0.2
        shining = dark or (e < 0 and car.braking)
        if shining:
            color = np.array([1.0, 0.97, 0.85]) if e > 0 else np.array([0.95, 0.12, 0.08])
        for side in (-1, 1):
            a, b = side * (w - 0.18), side * (w - 0.18 - wide)
            v0, v1 = min(a, b), max(a, b)
            self.fill(_end(u, v0, v1, high - tallness, high), color, None if shining else face)
            if shining:
                middle = np.array([u, (a + b) / 2, high - tallness / 2])
                point = self.cv.camera.project(self.frame.world(middle))
                strength = (
                    (0.85 if e > 0 else 0.5) * (0.35 + 0.65 * weather.lamps) if dark else 0.16
                )
                tint = (1.0, 0.93, 0.75) if e > 0 else (1.0, 0.16, 0.10)
                radius = (0.36 if e > 0 else 0.26) * self.size
                self.cv.glow(point, radius, tint, strength, CAR, color, car.near)
            elif e > 0 and self.size > 22:
                self.fill(
                    _end(u, v0 + 0.06, v1 - 0.06, high - tallness + 0.03, high - 0.03),
                    np.full(3, 0.62),
                    face,
                )
        if e > 0 and car.body != "bus":
            self.fill(_end(u, -w * 0.42, w * 0.42, high - 0.17, high - 0.02), black, face)
            if self.size > 12:
                self.fill(
                    _end(u, -w * 0.60, w * 0.60, floor + 0.09, floor + 0.24), black * 0.8, face
                )
            if self.size > 22:
                self.fill(
                    _end(u, -w * 0.42, w * 0.42, high - 0.10, high - 0.085), np.full(3, 0.6), face
                )
        plate = np.array([0.86, 0.86, 0.82]) if e > 0 else np.array([0.84, 0.76, 0.34])
        level = floor + 0.22 if e > 0 or self.tall else high - tallness - 0.02
        self.fill(_end(u * 1.001, -0.26, 0.26, level, level + 0.12), plate, face)
        if self.size > 22:
            for m in (-0.20, -0.13, -0.06, 0.04, 0.11, 0.18):
                self.fill(_end(u * 1.002, m, m + 0.035, level + 0.025, level + 0.095), black, face)
            if e < 0:
                self.fill(
                    _end(u, -w * 0.9, w * 0.9, floor + 0.19, floor + 0.20), self.paint * 0.6, face
                )


def _end(u: float, v0: float, v1: float, y0: float, y1: float) -> list:
    """A rectangle across the car at `u`."""
    return [(u, v0, y0), (u, v1, y0), (u, v1, y1), (u, v0, y1)]


def _inset(corners: list, a0: float, a1: float, b0: float, b1: float) -> list:
    """Part of a quad: `a` runs from corner 0 to 1, `b` from there to corners 3 and 2."""
    p0, p1, p2, p3 = corners
    part = []
    for a, b in ((a0, b0), (a1, b0), (a1, b1), (a0, b1)):
        wa, wb, wc, wd = (1 - a) * (1 - b), a * (1 - b), a * b, (1 - a) * b
        part.append(
            tuple(
                wa * p + wb * q + wc * r + wd * t for p, q, r, t in zip(p0, p1, p2, p3, strict=True)
            )
        )
    return part


def shade_car(cv: Canvas, weather: Weather, car: Car) -> None:
    """Darkens the ground under the car, and beside it where the sun shines."""
    if car.near < NEAR:
        return
    length, width, top = BODIES[car.body][:3]
    frame = _Frame(cv, car)
    half, w = length / 2, width / 2
    corners = frame.world(
        np.array([(-half, -w, 0), (half, -w, 0), (half, w, 0), (-half, w, 0)], float)
    )
    if weather.shadow > 0.12:
        dx, dz = weather.cast
        inner = frame.world(
            np.array(
                [
                    (-half * 0.75, -w * 0.8, 0),
                    (half * 0.45, -w * 0.8, 0),
                    (half * 0.45, w * 0.8, 0),
                    (-half * 0.75, w * 0.8, 0),
                ]
            )
        )
        x = np.concatenate([corners[:, 0], corners[:, 0] + dx * 0.85, inner[:, 0] + dx * top])
        z = np.concatenate([corners[:, 2], corners[:, 2] + dz * 0.85, inner[:, 2] + dz * top])
        cv.hull_shadow(x, z, 0.95)
    for grow, strength in ((1.08, 0.45), (1.0, 0.95)):
        points = frame.world(
            np.array([(-half, -w, 0), (half, -w, 0), (half, w, 0), (-half, w, 0)])
            * (1.0 + (grow - 1) * 0.4, grow, 1.0)
        )
        if cv.sunlit(float(frame.x), car.near) > 1 - strength:
            cv.shadow(points[:, 0], points[:, 2], strength)
    if weather.wet > 0:
        box = [(u, v, y) for u in (-half, half) for v in (-w, w) for y in (0.0, top)]
        xy = cv.camera.project(frame.world(np.array(box)))
        (x0, y0), (x1, y1) = xy.min(axis=0), xy.max(axis=0)
        near = cv.camera.project(corners)[:, 1].max()
        cv.mirror(x0, x1, near, near + 0.8 * (y1 - y0), car.paint)
