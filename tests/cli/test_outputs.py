"""Nothing of somebody else's is written over, and what is broken ends no work on the rest."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, files
from keras_focusseg.cli import outputs
from keras_focusseg.inference import inputs
from tests.cli.conftest import Done
from tests.inference.films import film

Run = Callable[..., Done]


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((32, 48, 3), 90, "uint8")).save(path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_broken_picture_does_not_end_the_rest(run: Run, preset: Path, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "c.png")
    (tmp_path / "in" / "b.png").write_bytes(b"not a picture")
    out = tmp_path / "out"
    done = run("segment", tmp_path / "in", "--preset", preset, "--output", out)
    assert done.returncode == 1
    results = ["a_labels.png", "a_overlay.png", "c_labels.png", "c_overlay.png"]
    assert names(out) == [*results, "legend.png", "segment.json"]
    assert done.stderr.startswith("focusseg: left out: ") and "b.png" in done.stderr
    end = f"1 of 3 pictures left out:\n  {tmp_path / 'in' / 'b.png'}\n"
    assert done.stderr.endswith(end) and "Traceback" not in done.stderr
    alone = run("segment", tmp_path / "in" / "b.png", "--preset", preset, "--output", out / "no")
    assert alone.returncode == 1 and not (out / "no").exists()


def test_bad_pictures_of_all_kinds(
    run: Run,
    preset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    """Each is told in its own words, and the good ones are segmented."""
    folder = tmp_path / "in"
    picture(folder / "good.png")
    gray = np.full((32, 48), 90, "uint8")
    Image.fromarray(gray.astype("uint16") * 257).save(folder / "deep.png")
    Image.fromarray(np.dstack([gray] * 4)).save(folder / "glass.png")
    Image.fromarray(np.dstack([gray] * 4), "CMYK").save(folder / "print.jpg")
    upright = Image.Exif()
    upright[0x0112] = 6  # turned by a quarter
    Image.fromarray(np.dstack([gray] * 3)).save(folder / "turned.jpg", exif=upright)
    frames = [Image.fromarray(gray + i) for i in range(2)]
    frames[0].save(folder / "moves.gif", save_all=True, append_images=frames[1:])
    Image.new("1", (10_000, 10_000)).save(folder / "bomb.png")
    Image.fromarray(np.dstack([gray[:1]] * 3)).save(folder / "flat.png")
    (folder / "empty.png").touch()
    (folder / "renamed.jpg").write_text("text")
    picture(folder / "late.png")
    paths = sorted(folder.iterdir())
    find = inputs.find_pictures

    def vanishes(place: str) -> list[Path]:
        found = find(place)
        (folder / "late.png").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(inputs, "find_pictures", vanishes)
    out = tmp_path / "out"
    words = ("--preset", preset, "--output", out, "--write", "labels,labels")
    done = run("segment", folder, *words)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert not [one for one in recwarn if one.category is Image.DecompressionBombWarning]
    for name, message in (
        ("deep.png", "mode 'I;16'"),
        ("glass.png", "partly transparent"),
        ("moves.gif", "2 frames"),
        ("bomb.png", "100,000,000 pixels; at most"),
        ("flat.png", "the height is 1"),
        ("empty.png", "0 bytes"),
        ("renamed.jpg", "not one of PNG, JPEG"),
        ("late.png", "does not exist"),
    ):
        assert re.search(f"left out: .*{name}.*{message}", done.stderr), (name, done.stderr)
    good = [f"{stem}_labels.png" for stem in ("good", "print", "turned")]
    assert names(out) == sorted([*good, "segment.json"])
    assert Image.open(out / "turned_labels.png").size == (32, 48)
    assert f"8 of {len(paths)} pictures left out:" in done.stderr
    assert f"Written: {len(good)} files" in done.stdout


def test_a_second_run_knows_its_own_results(run: Run, preset: Path, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    words = ("segment", tmp_path, "--preset", preset, "--output", tmp_path)
    assert run(*words).returncode == 0
    first = names(tmp_path)
    assert first == ["a.png", "a_labels.png", "a_overlay.png", "legend.png", "segment.json"]
    again = run(*words)
    assert again.returncode == 0 and names(tmp_path) == first
    assert "3 results of an earlier run are left out" in again.stdout


def test_segment_never_writes_over_what_it_did_not_write(
    run: Run, preset: Path, tmp_path: Path
) -> None:
    image = picture(tmp_path / "a.png")
    by_hand = picture(tmp_path / "a_labels.png")
    before = by_hand.read_bytes()
    both = ("segment", tmp_path, "--preset", preset, "--output", tmp_path)
    for words in (both, (*both, "--overwrite")):  # an input is never written over
        done = run(*words)
        assert done.returncode == 2 and "a_labels.png, which is to be segmented too" in done.stderr
    one = ("segment", image, "--preset", preset, "--output", tmp_path)
    done = run(*one)
    assert done.returncode == 2 and "a_labels.png is there already" in done.stderr
    assert by_hand.read_bytes() == before and names(tmp_path) == ["a.png", "a_labels.png"]
    assert run(*one, "--overwrite").returncode == 0 and by_hand.read_bytes() != before


def test_a_run_goes_on_where_it_stopped(
    run: Run, preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / "in" / name)
    out = tmp_path / "out"
    words = ("segment", tmp_path / "in" / "*.png", "--preset", preset, "--output", out)
    words = (*words, "--write", "labels,areas", "--window", "24x32", "--flip")
    assert run(*words, "--resume").returncode == 0  # nothing there yet
    assert names(out) == sorted(
        [f"{stem}_{kind}" for stem in "abc" for kind in ("areas.json", "labels.png")]
        + ["segment.json"]
    )
    (out / "b_areas.json").unlink()
    before = (out / "a_labels.png").stat().st_mtime_ns
    again = run(*words, "--resume")
    assert again.returncode == 0, again.stderr
    assert "2 of 3 pictures are done" in again.stdout and "b.png: " in again.stdout
    assert "in windows of 24x32" in again.stdout and (out / "b_areas.json").exists()
    assert (out / "a_labels.png").stat().st_mtime_ns == before
    assert "3 of 3 pictures are done" in run(*words, "--resume").stdout
    other = run(*words[:-1], "--resume")
    assert other.returncode == 2 and "was segmented with flip True, now it is False" in other.stderr


def test_a_run_does_not_go_on_with_results_of_other_settings(
    run: Run, preset: Path, tmp_path: Path
) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    out = tmp_path / "out"
    words = ("--preset", preset, "--output", out, "--write", "areas")
    assert run("segment", tmp_path / "in", *words, "--flip").returncode == 0
    assert run("segment", tmp_path / "in" / "a.png", *words).returncode == 0  # and is stopped
    done = run("segment", tmp_path / "in", *words, "--resume")
    assert "1 of 2 pictures are done already" in done.stdout and "b.png: " in done.stdout


def test_videos_are_written_with_their_figures(run: Run, preset: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    film(tmp_path / "in" / "drive.mp4", frames=3)
    (tmp_path / "in" / "cut.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    words = ("segment", *(tmp_path / "in").iterdir(), "--preset", preset, "--output", out)
    words = (*words, "--smoothing", 0.5)
    done = run(*words)
    assert done.returncode == 1 and "cut.mp4: the video cannot be opened" in done.stderr
    assert "1 of 2 pictures left out or cut short:" in done.stderr
    assert "drive.mp4: 3 frames, 12.50 a second, sound aac; " in done.stdout
    assert names(out) == ["drive_overlay.mp4", "drive_video.json", "segment.json"]
    assert all(files.is_result(path) for path in out.iterdir())
    assert "1 of 2 pictures are done" in run(*words, "--resume").stdout
    (out / "drive_overlay.mp4").write_text("mine")
    assert "drive_overlay.mp4 is there already" in run(*words).stderr


def test_python_files_that_are_no_recipes_are_passed_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('"""A title."""\nrecipe = 1 / 0\n')
    (tmp_path / "helper.py").write_text("def recipe(): ...\n")
    (tmp_path / "draft.py").write_text("recipe = (\n")
    done = run("recipes", tmp_path)
    assert done.returncode == 0 and "1 recipes in" in done.stdout and "mine" in done.stdout
    assert "Passed over, being no Python that sets `recipe`: draft.py, helper.py" in done.stdout


def test_what_is_not_written_of_videos_is_refused(run: Run, preset: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    drive, out = film(tmp_path / "drive.mp4", frames=2), tmp_path / "out"
    words = ("--preset", preset, "--output", out)
    for kinds in ("labels", "overlay,coco"):
        done = run("segment", drive, *words, "--write", kinds)
        assert done.returncode == 2 and not out.exists()
        assert f"--write must be overlay for {drive}, got {kinds}: " in done.stderr
    assert "frames are of one size" in run("segment", drive, *words, "--pad-to-multiple", 8).stderr
    still = picture(tmp_path / "a.png")
    assert "--write must be" in run("segment", drive, still, *words, "--write", "coco").stderr
    assert run("segment", drive, still, *words, "--write", "overlay,coco").returncode == 0
    assert names(out)[:2] == ["a_coco.json", "a_overlay.png"]
    assert run("segment", drive, *words, "--write", "overlay").returncode == 0


def test_videos_are_not_written_over_each_other(run: Run, preset: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    one, other = (film(tmp_path / name / "drive.mp4", frames=2) for name in "ab")
    words = ("--preset", preset, "--output", tmp_path)
    done = run("segment", one, other, *words)
    assert done.returncode == 2 and "would both be written as drive_overlay.mp4" in done.stderr
    assert run("segment", one, *words).returncode == 0
    made = tmp_path / "drive_overlay.mp4"
    done = run("segment", one, made, *words)
    assert f"would be written over {made}, which is to be segmented too" in done.stderr


def test_a_list_on_the_standard_input(
    run: Run, preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [picture(tmp_path / name) for name in ("a.png", "b c.png")]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{path}\n" for path in paths)))
    done = run("segment", "-", "--preset", preset, "--output", tmp_path / "out", "--write", "areas")
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == ["a_areas.json", "b c_areas.json", "segment.json"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{tmp_path}/gone.png\n{paths[0]}\n"))
    done = run("segment", "-", "--preset", preset, "--output", tmp_path / "out", "--write", "areas")
    assert done.returncode == 1 and "gone.png: the image does not exist" in done.stderr
    assert "a.png: " in done.stdout
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "names no picture" in run("segment", "-", "--preset", preset).stderr


def test_figures_are_replaced_only_if_they_are_ours(run: Run, preset: Path, tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "costs.json"
    words = ("profile", preset, "--size", "64x64", "--no-latency", "--output", path)
    for _ in range(2):
        assert run(*words).returncode == 0
    assert json.loads(path.read_text())["origin"] == outputs.MARK
    path.write_text('{"mine": 1}')
    done = run(*words)
    assert done.returncode == 2 and "costs.json is there already, and is no" in done.stderr
    assert path.read_text() == '{"mine": 1}'
    assert run(*words, "--overwrite").returncode == 0
    assert run(*words[:-1], "/dev/null").returncode == 0


def test_evaluate_names_what_it_left_out(
    run: Run, preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = data.SyntheticStreets.load

    def one_broken(self: data.SyntheticStreets, index: int) -> data.Sample:
        if index == 1:
            raise data.DataError("is broken", file="one.png")
        return load(self, index)

    monkeypatch.setattr(data.SyntheticStreets, "load", one_broken)
    path = tmp_path / "deeper" / "scores.json"
    done = run("evaluate", preset, "--count", 2, "--output", path)
    assert done.returncode == 1 and "left out: one.png: is broken" in done.stdout
    assert "1 of 2 images left out" in done.stdout

    def no_constant(text: str) -> None:
        raise AssertionError(text)  # NaN is no JSON

    scores = json.loads(path.read_text(), parse_constant=no_constant)
    assert scores["frames"] == 1 and len(scores["left_out"]) == 1


def test_sheets_and_pages_are_replaced_only_if_they_are_ours(run: Run, tmp_path: Path) -> None:
    source = ("synthetic_streets", "--option", "count=1", "--option", "size=[64,64]")
    for sheet in ("sheet.png", "sheet.jpg"):
        for _ in range(2):
            done = run("data", "show", *source, "--out", tmp_path / sheet)
            assert done.returncode == 0, done.stderr
    page, figures = tmp_path / "page.html", tmp_path / "figures.json"
    check = ("data", "check", *source, "--split", "val", "--html", page, "--json", figures)
    for _ in range(2):
        assert run(*check).returncode == 0
    for path, words in (
        (tmp_path / "sheet.png", ("data", "show", *source, "--out", tmp_path / "sheet.png")),
        (page, check),
        (figures, check),
    ):
        path.write_text("mine")
        done = run(*words)
        assert done.returncode == 2 and f"{path.name} is there already" in done.stderr
        assert path.read_text() == "mine"
        assert run(*words, "--overwrite").returncode == 0


def test_a_picture_that_is_named_twice_is_segmented_once(
    run: Run, preset: Path, tmp_path: Path
) -> None:
    still, out = picture(tmp_path / "in" / "a.png"), tmp_path / "out"
    out.mkdir()
    (out / "legend.png").write_text("mine")
    words = ("segment", still, still.parent, "--preset", preset, "--output", out, "--write")
    assert "Written: 1 files" in run(*words, "labels").stdout
    assert "legend.png is there already" in run(*words, "overlay").stderr
    assert run(*words, "overlay", "--overwrite").returncode == 0
    assert files.is_result(out / "legend.png")


def test_a_gallery_is_not_put_among_other_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "legend.png").write_text("mine")
    done = run("demo", "--out", tmp_path)
    assert done.returncode == 2 and "holds files, and is no gallery of focusseg" in done.stderr
    assert names(tmp_path) == ["legend.png"]


def test_marks(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"origin": outputs.MARK})
    (tmp_path / "b.json").write_text(" " * 5000 + outputs.MARK)
    assert files.is_result(tmp_path / "a.json") and not files.is_result(tmp_path / "b.json")
    assert not files.is_result(tmp_path / "absent")
