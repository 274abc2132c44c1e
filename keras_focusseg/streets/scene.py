"""Composes a street: what stands where. No decision here looks at the size of the picture."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from keras_focusseg.streets import furniture, nature, people, vehicles
from keras_focusseg.streets.buildings import (
    Building,
    draw_building,
    sample_building,
    shadow_building,
)
from keras_focusseg.streets.canvas import (
    BUILDING,
    TREE,
    Camera,
    Canvas,
    Color,
    pick,
)
from keras_focusseg.streets.furniture import Fence, Post, sample_post
from keras_focusseg.streets.nature import Tree, sample_hedge, sample_tree
from keras_focusseg.streets.people import Person, sample_person
from keras_focusseg.streets.road import CURB, Road, draw_road, sample_road
from keras_focusseg.streets.vehicles import Car, sample_car
from keras_focusseg.streets.weather import (
    Weather,
    finish,
    sample_weather,
)

KINDS = ("shops", "homes", "avenue", "town", "park")
_SHARES = (0.24, 0.27, 0.18, 0.19, 0.12)
_END = 115.0


@dataclass
class Street:
    """Everything in one scene."""

    road: Road
    weather: Weather
    kinds: tuple[str, str]
    season: str
    buildings: list[Building] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    fences: list[Fence] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    cars: list[Car] = field(default_factory=list)
    persons: list[Person] = field(default_factory=list)


def render_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draws one random street scene.

    Args:
        rng: The only source of chance. The composition does not depend on `size`.
        size: (H, W) of the result, both at least 64.

    Returns:
        Picture (H, W, 3) uint8 RGB and mask (H, W) uint8 with CamVid's 11 train ids.
    """
    weather = sample_weather(rng)
    kind = pick(rng, KINDS, _SHARES)
    other = kind if rng.random() < 0.65 else pick(rng, KINDS, _SHARES)
    road = sample_road(rng, kind)
    camera = _sample_camera(rng, road, size)
    season = pick(rng, ("summer", "spring", "autumn"), (0.66, 0.17, 0.17))
    street = Street(road, weather, (kind, other), season)
    backdrop = rng.random((60, 5))
    for side, side_kind in zip((-1, 1), street.kinds, strict=True):
        _line_side(rng, street, side, side_kind)
        _furnish(rng, street, side, side_kind)
        _park_cars(rng, street, side)
        _walk(rng, street, side, side_kind)
    _drive(rng, street)
    _ride(rng, street)
    canvas = Canvas(camera, weather.haze, weather.density)
    _draw(canvas, street, backdrop)
    return finish(canvas, weather, rng)


def _sample_camera(rng: np.random.Generator, road: Road, size: tuple[int, int]) -> Camera:
    lanes = [s for s, direction in road.lanes if direction > 0]
    lane = lanes[int(rng.integers(len(lanes)))]
    bend = rng.uniform(-0.0045, 0.0045) if rng.random() < 0.45 else rng.uniform(-3e-4, 3e-4)
    return Camera(
        size=size,
        height=rng.uniform(1.30, 1.75) if rng.random() < 0.85 else rng.uniform(1.9, 2.6),
        horizon=rng.uniform(0.42, 0.54),
        zoom=rng.uniform(0.80, 1.12),
        yaw=rng.uniform(-0.13, 0.13),
        curve=bend,
        offset=lane + rng.uniform(-0.35, 0.35),
        roll=rng.uniform(-0.012, 0.012),
    )


def _index(side: int) -> int:
    return 0 if side < 0 else 1


def _line_side(rng: np.random.Generator, street: Street, side: int, kind: str) -> None:
    """Buildings, gardens and parks of one side."""
    road = street.road
    edge = road.curb(side) + side * road.pavement(side)
    if kind == "park":
        _park(rng, street, side, edge)
        return
    garden = {"homes": rng.uniform(2.6, 5.0), "avenue": rng.uniform(0.0, 2.0)}.get(kind, 0.0)
    front = edge + side * garden
    border = pick(rng, ("wall", "picket", "rails", "boards", "hedge"), (0.3, 0.2, 0.2, 0.1, 0.2))
    color = _fence_color(rng, border)
    z = rng.uniform(-12.0, -4.0)
    while z < _END:
        low, high = {"homes": (6.5, 11.0), "shops": (6.0, 13.0)}.get(kind, (9.0, 20.0))
        length = rng.uniform(low, high)
        corner = False
        margin = road.pavement(side) + 0.3
        if road.junction and road.open_at(side, z, z + length, margin):
            start = road.junction[0] - margin
            if start - z > 5.0:
                length = start - z
            else:
                z, corner = road.junction[1] + margin, True
        building = sample_building(rng, kind, side, front, (z, z + length))
        if corner:
            building = replace(building, depth=rng.uniform(16.0, 34.0))
        street.buildings.append(building)
        if garden > 2.2:
            _garden(rng, street, side, edge, front, z, z + length, border, color)
        gap = 0.0
        if kind == "homes":
            gap = rng.uniform(1.2, 4.0) if rng.random() < 0.75 else 0.0
        elif rng.random() < 0.12:
            gap = rng.uniform(2.5, 9.0)
        end = z + length
        if gap > 1.0:
            _fill_gap(rng, street, side, front, end, end + gap)
        if gap and garden > 2.2:
            _garden(rng, street, side, edge, front, end, end + gap, border, color)
        z = end + gap


def _fence_color(rng: np.random.Generator, kind: str) -> Color:
    choice = {
        "wall": ((0.52, 0.32, 0.25), (0.60, 0.55, 0.48), (0.70, 0.67, 0.62)),
        "picket": ((0.88, 0.87, 0.84), (0.55, 0.42, 0.30)),
        "boards": ((0.50, 0.37, 0.25), (0.42, 0.30, 0.20), (0.46, 0.45, 0.41)),
        "hoarding": (
            (0.14, 0.30, 0.50),
            (0.55, 0.56, 0.55),
            (0.16, 0.36, 0.26),
            (0.82, 0.81, 0.78),
        ),
        "mesh": ((0.50, 0.52, 0.52), (0.16, 0.30, 0.22)),
        "barrier": ((0.86, 0.86, 0.84),),
    }.get(kind, ((0.12, 0.13, 0.14), (0.50, 0.51, 0.52), (0.12, 0.22, 0.17)))
    return choice[int(rng.integers(len(choice)))]


def _garden(
    rng: np.random.Generator,
    street: Street,
    side: int,
    edge: float,
    front: float,
    z0: float,
    z1: float,
    border: str,
    color: Color,
) -> None:
    """What separates a front garden from the pavement, and a bush or two behind it."""
    end = street.road.junction
    if end and street.road.sides[_index(side)] and z0 < end[0] < z1 + 1.0:
        z1 = min(z1, end[0] - street.road.pavement(side) - 0.3)
    if z1 - z0 < 1.0:
        return
    height = {"wall": rng.uniform(0.6, 1.1), "boards": 1.3, "rails": 1.15}.get(border, 1.0)
    at = edge + side * 0.12
    pieces = max(1, int((z1 - z0) / 5.0))
    for k in range(pieces):
        a, b = z0 + (z1 - z0) * k / pieces, z0 + (z1 - z0) * (k + 1) / pieces
        opening = rng.random() < 0.2
        if border == "hedge":
            if b > 1.5 and not opening:
                street.trees.append(sample_hedge(rng, edge + side * 0.55, a, b - a, CURB))
        elif b > 1.0 and not opening:
            street.fences.append(Fence(border, (at, a), (at, b), height, color, CURB))
    if rng.random() < 0.5:
        z = rng.uniform(z0, z1)
        if z > 4.0:
            small = sample_tree(rng, street.season, (edge + front) / 2, z + 2.0, 0.0, 0.42)
            street.trees.append(small)


def _fill_gap(
    rng: np.random.Generator, street: Street, side: int, front: float, z0: float, z1: float
) -> None:
    """Between two buildings: trees behind, sometimes a fence."""
    kind = pick(rng, ("boards", "none", "rails", "hoarding"), (0.4, 0.3, 0.2, 0.1))
    if z1 > 2.0 and kind != "none":
        height = rng.uniform(1.6, 2.1)
        shade = _fence_color(rng, kind)
        street.fences.append(
            Fence(kind, (front + side * 0.3, z0), (front + side * 0.3, z1), height, shade, 0.0)
        )
    for _ in range(int(rng.integers(1, 3))):
        s = front + side * rng.uniform(5.0, 14.0)
        z = rng.uniform(z0, z1) + 3.0
        if z > 6.0:
            street.trees.append(sample_tree(rng, street.season, s, z, 0.0, 0.9))


def _park(rng: np.random.Generator, street: Street, side: int, edge: float) -> None:
    """Fence or hedge along the pavement and trees behind."""
    road = street.road
    kind = pick(
        rng,
        ("rails", "mesh", "boards", "hedge", "picket", "wall"),
        (0.30, 0.20, 0.15, 0.15, 0.08, 0.12),
    )
    color = _fence_color(rng, kind)
    height = rng.uniform(1.1, 1.9)
    z, step = 1.0, 5.0
    while z < 95.0:
        if not road.open_at(side, z, z + step, road.pavement(side) + 0.3):
            if kind == "hedge":
                hedge = sample_hedge(rng, edge + side * 0.6, z, step, CURB)
                street.trees.append(hedge)
            else:
                at = edge + side * 0.15
                street.fences.append(Fence(kind, (at, z), (at, z + step), height, color, CURB))
        z += step
    z = rng.uniform(4.0, 9.0)
    while z < 105.0:
        s = edge + side * (1.5 + 15.0 * rng.random() ** 1.3)
        if not road.open_at(side, z - 2, z + 2, 2.0):
            street.trees.append(sample_tree(rng, street.season, s, z, 0.0, rng.uniform(0.8, 1.35)))
        z += rng.uniform(2.2, 5.5)


def _furnish(rng: np.random.Generator, street: Street, side: int, kind: str) -> None:
    """Street trees, lamps, signs, lights, bollards and rails on one pavement."""
    road = street.road
    curb, width = road.curb(side), road.pavement(side)

    def free(z: float) -> bool:
        return not road.open_at(side, z - 0.8, z + 0.8, 0.3)

    def put(kind: str, z: float, inset: float) -> None:
        if free(z):
            street.posts.append(sample_post(rng, kind, curb + side * inset, z, side, CURB))

    z, pitch = rng.uniform(5.0, 24.0), rng.uniform(20.0, 30.0)
    mast = rng.random() < 0.18
    while z < 105.0:
        put("mast" if mast else "lamp", z, 0.45)
        z += pitch
    if width > 2.2 and rng.random() < {"avenue": 0.95, "homes": 0.45, "shops": 0.4}.get(kind, 0.4):
        z, pitch = rng.uniform(6.0, 16.0), rng.uniform(8.0, 14.0)
        big = rng.uniform(0.6, 1.0)
        inset = 0.75 if road.green[_index(side)] else 0.9
        while z < 100.0:
            if free(z) and rng.random() < 0.85:
                tree = sample_tree(rng, street.season, curb + side * inset, z, CURB, big)
                street.trees.append(tree)
            z += pitch
    for _ in range(int(rng.integers(1, 5))):
        put("sign", 5.0 + 34.0 * rng.random() ** 1.2, rng.uniform(0.35, 0.6))
    if road.junction and rng.random() < 0.55:
        put("lights", road.junction[0] - rng.uniform(1.8, 3.5), 0.5)
        put("sign", road.junction[1] + 2.5, 0.6)
    elif road.zebra and rng.random() < 0.5:
        put("lights", road.zebra - 0.6, 0.5)
    if rng.random() < 0.22:
        z = rng.uniform(4.0, 14.0)
        for k in range(int(rng.integers(4, 10))):
            put("bollard", z + 1.6 * k, 0.35)
    if rng.random() < 0.30:
        at = road.zebra + 4.0 if road.zebra else rng.uniform(5.0, 20.0)
        kind = "guard" if rng.random() < 0.8 else "barrier"
        color = _fence_color(rng, kind)
        for k in range(int(rng.integers(2, 6))):
            a, b = at + 2.4 * k, at + 2.4 * k + 2.3
            if free(a) and free(b):
                street.fences.append(
                    Fence(kind, (curb + side * 0.28, a), (curb + side * 0.28, b), 1.05, color, CURB)
                )


def _park_cars(rng: np.random.Generator, street: Street, side: int) -> None:
    road = street.road
    if not road.parking[_index(side)]:
        return
    s = road.curb(side) - side * (1.12 + (1.5 if road.cycle == side else 0.0))
    heading = 0.0 if side == road.drive else math.pi
    full = rng.uniform(0.45, 0.92)
    z = rng.uniform(5.5, 10.0)
    while z < 85.0:
        at_zebra = road.zebra is not None and road.zebra - 6.0 < z < road.zebra + 8.0
        taken = rng.random() < full
        car = sample_car(rng, s + rng.uniform(-0.1, 0.1), z, heading, parked=True)
        if taken and not at_zebra and not road.open_at(side, z - 3, z + 3, 4.0):
            street.cars.append(car)
        z += rng.uniform(5.2, 6.4)


def _walk(rng: np.random.Generator, street: Street, side: int, kind: str) -> None:
    """Pedestrians of one pavement, and on the zebra."""
    road = street.road
    curb, width = road.curb(side), road.pavement(side)
    mean = {"shops": 5.0, "town": 3.0, "avenue": 2.6}.get(kind, 1.6)
    wet = street.weather.rain > 0
    for _ in range(1 + int(rng.poisson(mean))):
        z = 5.5 + 42.0 * rng.random() ** 1.3
        s = curb + side * rng.uniform(min(1.3, width * 0.55), width - 0.35)
        heading = (0.0 if rng.random() < 0.5 else math.pi) + rng.uniform(-0.35, 0.35)
        if rng.random() < 0.12:
            heading = rng.uniform(-math.pi, math.pi)
        if road.open_at(side, z - 0.5, z + 0.5, 0.5):
            continue
        street.persons.append(sample_person(rng, s, z, CURB, heading, False, wet))
        if rng.random() < 0.25 and width > 2.2:
            beside = float(np.clip(abs(s - curb) + 0.6, 0.8, width - 0.2))
            street.persons.append(
                sample_person(rng, curb + side * beside, z + 0.15, CURB, heading, False, wet)
            )
    cross = road.zebra if road.zebra is not None and rng.random() < 0.55 else None
    if cross is None and rng.random() < 0.14:
        cross = rng.uniform(10.0, 28.0)
    if cross is not None:
        for _ in range(int(rng.integers(1, 4))):
            s = rng.uniform(road.edges[0] + 0.5, road.edges[1] - 0.5)
            heading = math.copysign(math.pi / 2, rng.random() - 0.5) + rng.uniform(-0.2, 0.2)
            z = cross + rng.uniform(0.4, 2.6)
            street.persons.append(sample_person(rng, s, z, 0.0, heading, False, wet))


def _drive(rng: np.random.Generator, street: Street) -> None:
    """Traffic in the lanes and on the side road."""
    road = street.road
    for s, direction in road.lanes:
        z = rng.uniform(8.0, 30.0) if direction > 0 else rng.uniform(7.0, 32.0)
        dense = rng.uniform(9.0, 34.0)
        heading = 0.0 if direction > 0 else math.pi
        while z < 95.0:
            car = sample_car(
                rng, s + rng.uniform(-0.25, 0.25), z, heading + rng.uniform(-0.04, 0.04)
            )
            long = vehicles.BODIES[car.body][0]
            blocked = any(
                abs(p.s - s) < 1.6 and abs(p.z - z) < long / 2 + 1.0 for p in street.persons
            )
            if car.near > 4.5 and not blocked:
                street.cars.append(car)
            z += long + rng.uniform(4.0, 8.0) + rng.exponential(dense)
    if road.junction and rng.random() < 0.6:
        middle = sum(road.junction) / 2
        turn = 1 if rng.random() < 0.5 else -1
        sides = [side for side in (-1, 1) if road.sides[_index(side)]]
        side = sides[int(rng.integers(len(sides)))]
        s = road.curb(side) + side * rng.uniform(3.2, 6.0)
        if rng.random() < 0.4:
            s = rng.uniform(-2.0, 2.0)
        z = middle + turn * road.drive * 1.6
        if not any(abs(c.s - s) < 4.0 and abs(c.z - z) < 4.5 for c in street.cars):
            heading = math.pi / 2 * turn + rng.uniform(-0.15, 0.15)
            street.cars.append(sample_car(rng, s, z, heading))


def _ride(rng: np.random.Generator, street: Street) -> None:
    """Cyclists beside the lanes, and across at a junction."""
    road = street.road
    wet = street.weather.rain > 0
    for _ in range(pick(rng, (0, 1, 2, 3, 4), (0.05, 0.35, 0.32, 0.18, 0.10))):
        side = -1 if rng.random() < 0.5 else 1
        inset = 0.75 + (2.1 if road.parking[_index(side)] and road.cycle != side else 0.0)
        s = road.curb(side) - side * (inset + rng.uniform(0.0, 0.5))
        z = 6.0 + 26.0 * rng.random() ** 1.25
        heading = (0.0 if side == road.drive else math.pi) + rng.uniform(-0.12, 0.12)
        if rng.random() < 0.22:
            heading = math.copysign(math.pi / 2, rng.random() - 0.5) + rng.uniform(-0.4, 0.4)
            s = rng.uniform(road.edges[0] + 1.5, road.edges[1] - 1.5)
        blocked = any(abs(c.s - s) < 1.55 and abs(c.z - z) < 3.4 for c in street.cars)
        rider = sample_person(rng, s, z, 0.0, heading, True, wet)
        if not blocked:
            street.persons.append(rider)


# -- drawing -------------------------------------------------------------------------------------


def _draw(cv: Canvas, street: Street, backdrop: np.ndarray) -> None:
    road, weather, camera = street.road, street.weather, cv.camera
    _backdrop(cv, street, backdrop)
    left, right = (kind in ("homes", "park") for kind in street.kinds)
    draw_road(cv, weather, road, (left, right))

    def sunlit(s: float, z: float) -> float:
        return cv.sunlit(float(camera.lane(s, z)), z)

    cast = weather.shadow > 0.12
    if cast:
        for building in street.buildings:
            shadow_building(cv, weather, building)
    lit = {id(t): 0.35 + 0.65 * sunlit(t.s, max(t.z, 1.5)) for t in street.trees}
    if cast:
        for tree in street.trees:
            nature.shadow_tree(cv, weather, tree)
        for fence in street.fences:
            if fence.end[1] < 50:
                furniture.shade_fence(cv, weather, fence)
    for group in (street.cars, street.persons, street.posts):
        for thing in group:
            lit[id(thing)] = sunlit(thing.s, max(thing.z, 1.5))
    for fence in street.fences:
        lit[id(fence)] = sunlit(fence.start[0], max(fence.start[1], 1.5))
    for car in street.cars:
        vehicles.shade_car(cv, weather, car)
    for person in street.persons:
        people.shade_person(cv, weather, person)
    for post in street.posts:
        furniture.shade_post(cv, weather, post)

    items: list[tuple[float, Callable[..., None], tuple]] = []
    shade = {side: _shade_line(street, side) for side in (-1, 1)}
    for building in street.buildings:
        items.append((building.z[1], draw_building, (building, shade[building.side])))
    for tree in street.trees:
        items.append((tree.z + 0.3, nature.draw_tree, (tree, lit[id(tree)])))
    for fence in street.fences:
        items.append(
            (max(fence.start[1], fence.end[1]), furniture.draw_fence, (fence, lit[id(fence)]))
        )
    for post in street.posts:
        items.append((post.z, furniture.draw_post, (post, lit[id(post)])))
    for car in street.cars:
        items.append((car.near, vehicles.draw_car, (car, lit[id(car)])))
    for person in street.persons:
        items.append((person.z - 0.1, people.draw_person, (person, lit[id(person)])))
    items.sort(key=lambda item: -item[0])
    for _, draw, arguments in items:
        draw(cv, weather, *arguments)


def _shade_line(street: Street, side: int) -> float:
    """Height up to which the walls of one side stand in the shadow of the other side."""
    sun = street.weather.sun
    if -side * sun[0] <= 0.02:
        return 0.0
    own = [b for b in street.buildings if b.side == side]
    other = [b for b in street.buildings if b.side == -side]
    if not own or not other:
        return 0.0
    width = abs(own[0].front - other[0].front)
    height = sum(b.height for b in other[:6]) / len(other[:6])
    return max(0.0, height - width * sun[1] / abs(sun[0]))


def _backdrop(cv: Canvas, street: Street, table: np.ndarray) -> None:
    """A hazy row of houses and woods on the horizon, all the way across."""
    camera, weather = cv.camera, street.weather
    width = camera.size[1]
    z = 230.0
    reach = 0.62 * width / camera.focal * z
    center = np.linspace(-reach, reach, 60)
    light = weather.light((0.0, 0.2, -0.98))
    xz = np.stack([center, np.zeros(60), np.full(60, z)], axis=-1)
    foot = camera.project(xz)
    scale = camera.pixels(z)
    town = table[:, 0] < 0.4
    wide, tall = (4.0 + 7.0 * table[:, 1]) * scale, (6.0 + 11.0 * table[:, 2]) * scale
    corners = np.array([(-1, 0.3), (1, 0.3), (1, -1), (-1, -1)])
    boxes = foot[:, None] + corners * np.stack([wide, tall], axis=-1)[:, None]
    wall = np.array([0.62, 0.56, 0.50]) * (0.75 + 0.4 * table[:, 3:4]) * light
    cv.shapes(boxes[town], wall[town], BUILDING, z)
    top = boxes[town][:, 2:4].mean(axis=1)
    gable = (
        top[:, None]
        + np.array([(-1, 0), (1, 0), (0.6, -0.35), (-0.6, -0.35)])
        * np.stack([wide, tall], axis=-1)[town][:, None]
    )
    cv.shapes(gable, wall[town] * (0.75, 0.6, 0.6), BUILDING, z)
    leaf = np.array(nature.LEAVES[street.season if street.season != "spring" else "summer"][0])
    rise = -(3.0 + 5.0 * table[:, 4]) * scale
    lobes = np.concatenate(
        [
            foot + np.stack([np.full(60, dx * 3 * scale), rise * h], axis=-1)
            for dx, h in ((-1.0, 0.5), (1.0, 0.6), (0.0, 1.0))
        ]
    )
    size = (
        np.concatenate(
            [np.stack([3.5 + 2 * table[:, k], 3.0 + 2 * table[:, k]], axis=-1) for k in (1, 2, 3)]
        )
        * scale
    )
    keep = np.tile(~town | (table[:, 4] < 0.5), 3)
    tone = (
        leaf
        * light
        * (0.8 + 0.35 * np.concatenate([table[:, 2], table[:, 3], table[:, 1]])[:, None])
    )
    cv.discs(lobes[keep], size[keep], tone[keep], TREE, z, 2)
    cv.shape(
        np.array([(0, 0), (width, 0), (width, 1), (0, 1)]) * (1.0, 1.6 * scale)
        + (0, camera.center[1] - 0.8 * scale),
        leaf * light * 0.8,
        TREE,
        z,
    )
