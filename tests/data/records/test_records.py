"""Prepared records: the same samples come back, damage is found, and TensorFlow is not needed."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow_datasets", reason="records are written with the extra tfds")
pytest.importorskip("array_record", reason="records are read with the package array_record")

from keras_focusseg import data, label_spaces
from keras_focusseg.cli import data_prepare
from keras_focusseg.data.records import files as record_files
from keras_focusseg.data.records import tfds_builders
from tests.data import layouts
from tests.data.conftest import ArraySource, random_pair, refused, train_pair


def assert_same(found: data.Source, wanted: data.Source) -> None:
    assert [s.name for s in found] == [found.sample_name(i) for i in range(len(found))]
    for index, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert mine.name == theirs.name
        np.testing.assert_array_equal(mine.image, theirs.image)
        np.testing.assert_array_equal(mine.mask, theirs.mask)
        np.testing.assert_array_equal(found.load_mask(index), theirs.mask)
        assert mine.mask.dtype == mine.image.dtype == np.uint8
    assert (found.name, found.note) == (wanted.name, wanted.note)
    assert found.label_space == wanted.label_space


@pytest.fixture
def camvid_records(camvid: Path, tmp_path: Path) -> Path:
    """CamVid's splits in two shards each."""
    sources = [data.CamVid(camvid, split) for split in ("train", "val")]
    return tfds_builders.prepare(sources, tmp_path / "prepared", shards=2).folder


class TestRoundTrip:
    @pytest.mark.parametrize("name", ["cityscapes", "bdd100k", "ade20k", "camvid", "pascal_voc"])
    def test_every_benchmark(self, name, tmp_path):
        make = getattr(layouts, {"camvid": "make_camvid_kaggle"}.get(name, f"make_{name}"))
        root = make(tmp_path / "raw")
        sources = [data.open_source(name, root, split) for split in data.splits(name, root)]
        prepared = tfds_builders.prepare(sources, tmp_path / "prepared")
        assert data.splits("records", tmp_path) == tuple(source.split for source in sources)
        assert prepared.counts == {source.split: len(source) for source in sources}
        for source in sources:
            records = data.open_source("records", prepared.folder, source.split, verify=True)
            assert_same(records, source)
            assert source.layout in records.layout and records.layout.startswith("array_record")

    def test_remote_records_are_the_local_ones(self, camvid_records, tmp_path, monkeypatch):
        fsspec = pytest.importorskip("fsspec")
        monkeypatch.setenv("FOCUSSEG_HOME", str(tmp_path / "cache"))
        system = fsspec.filesystem("memory")
        for path in data.Records(camvid_records, "train").folder.iterdir():
            system.pipe_file(f"/records/{path.name}", path.read_bytes())
        found = data.Records("memory://records", "train")
        assert_same(found, data.Records(camvid_records, "train"))
        assert_same(
            data.open_source("auto", "memory://records", "val"), data.Records(camvid_records, "val")
        )
        system.rm("/records", recursive=True)

    def test_jpeg_and_png_stay_as_they_are(self, tmp_path):
        """And nothing is stored that another reader would decode to something else."""
        rng = np.random.default_rng(0)
        pixels = layouts.picture(rng)
        folder = tmp_path / "images"
        layouts.save(folder / "a.jpg", pixels)
        layouts.save(folder / "b.png", pixels)
        layouts.save(folder / "grey.png", pixels[..., 0])
        layouts.save(folder / "c.jpg", pixels[..., 0])
        Image.fromarray(pixels).convert("P").save(folder / "palette.png")
        Image.fromarray(pixels).convert("CMYK").save(folder / "cmyk.jpg")
        layouts.save(folder / "d.bmp", pixels)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels).save(folder / "turned.jpg", exif=exif)
        for path in folder.iterdir():
            size = layouts.SIZE[::-1] if path.stem == "turned" else layouts.SIZE
            layouts.save(tmp_path / "masks" / f"{path.stem}.png", layouts.blocks(rng, 3, size))
        space = label_spaces.from_names(["x", "y", "z"])
        source = data.Folder(folder, tmp_path / "masks", space)
        prepared = tfds_builders.prepare([source], tmp_path / "prepared")
        records = data.Records(prepared.folder, "all")
        assert_same(records, source)
        kept = {
            records.sample_name(i)
            for i in range(len(records))
            if records._record(i)[0]["image"] == source.files(i)[0].read_bytes()
        }
        assert kept == {"a", "b"}

    def test_order_and_stream_are_those_of_the_source(self, camvid, camvid_records):
        streams = []
        for source in (data.CamVid(camvid), data.Records(camvid_records)):
            feed = data.batches(source, 2, shuffle=True, seed=3, feed="pydataset")
            streams.append([np.asarray(images) for images, _ in feed])
        for mine, theirs in zip(*streams, strict=True):
            np.testing.assert_array_equal(mine, theirs)

    def test_joined_splits_and_both_names(self, camvid, camvid_records):
        train, val, both = (
            data.Records(camvid_records, split) for split in ("train", "validation", "train+val")
        )
        assert [s.name for s in both] == [s.name for s in (*train, *val)]
        assert len(both) == len(data.CamVid(camvid, "train+val"))
        joined = tfds_builders.prepare(
            [data.CamVid(camvid, "train+val")], camvid_records / "new", name="joined"
        )
        assert data.Records.splits(joined.folder) == ("train+val",)
        assert_same(data.Records(joined.folder, "train+val"), data.CamVid(camvid, "train+val"))

    def test_statistics_and_threads_and_pickle(self, camvid, camvid_records):
        records, source = data.Records(camvid_records), data.CamVid(camvid)
        counts = [data.class_counts(s, cache=False) for s in (records, source)]
        np.testing.assert_array_equal(*counts)
        again = pickle.loads(pickle.dumps(records))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(again.load, [0, 1, 2, 3, 4] * 8))
        for index, sample in enumerate(found):
            np.testing.assert_array_equal(sample.image, source.load(index % 5).image)

    def test_tfrecord_through_tensorflow_datasets(self, camvid, tmp_path):
        tfds = pytest.importorskip("tensorflow_datasets")
        pytest.importorskip("tensorflow")
        source = data.CamVid(camvid)
        prepared = tfds_builders.prepare([source], tmp_path, file_format="tfrecord", shards=2)
        record_files.check_sums(prepared.folder)
        wanted = {sample.name: sample for sample in source}
        assert "as_dataset" in prepared.how_to_open()[0]
        for example in tfds.load("camvid_records", split="train", data_dir=str(tmp_path)):
            sample = wanted.pop(example["name"].numpy().decode())
            np.testing.assert_array_equal(example["image"], sample.image)
            np.testing.assert_array_equal(example["segmentation_mask"][..., 0], sample.mask)
        assert not wanted
        with pytest.raises(data.DataError, match=r"tfrecord, which cannot be read by index\."):
            data.Records(prepared.folder)

    def test_array_record_through_tensorflow_datasets(self, camvid, camvid_records):
        tfds = pytest.importorskip("tensorflow_datasets")
        builder = tfds.builder_from_directory(str(camvid_records))
        examples = builder.as_data_source("train")
        wanted = {sample.name: sample for sample in data.CamVid(camvid)}
        for image, mask, name in (
            (*tfds_builders.image_and_mask(example), example["name"]) for example in examples
        ):
            sample = wanted.pop(name.decode())
            np.testing.assert_array_equal(image, sample.image)
            np.testing.assert_array_equal(mask, sample.mask)
        assert not wanted
        assert tuple(builder.info.features["segmentation_mask"].names) == sample_space().classes

    @pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux'")
    def test_names_that_are_not_utf8(self, tmp_path):
        name = os.fsdecode(b"caf\xe9")
        source = ArraySource(2, train_pair)
        plain = source.load
        source.load = lambda i: plain(i)._replace(name=f"{name}{i}")
        prepared = tfds_builders.prepare([source], tmp_path)
        records = data.Records(prepared.folder)
        assert [s.name for s in records] == [f"{name}0", f"{name}1"]


def sample_space() -> label_spaces.LabelSpace:
    return label_spaces.get("camvid11")


def test_without_tensorflow(camvid_records):
    """Written above, read where TensorFlow cannot be imported."""
    code = f"""
from tests.data.conftest import without_tensorflow
without_tensorflow()
from keras_focusseg import data
records = data.open_source("auto", {str(camvid_records.parent)!r}, "train")
print(len(records), sum(int(s.image.sum()) + int(s.mask.sum()) for s in records))
"""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        others = [name for name in ("torch", "jax") if importlib.util.find_spec(name)]
        if not others:
            pytest.skip("needs PyTorch or JAX besides TensorFlow")
        backend = others[0]
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    records = data.Records(camvid_records)
    total = sum(int(s.image.sum()) + int(s.mask.sum()) for s in records)
    assert done.stdout == f"{len(records)} {total}\n", done.stderr


class TestPrepare:
    def test_progress_and_what_it_says(self, camvid, tmp_path):
        seen: list[tuple[int, int]] = []
        sources = [data.CamVid(camvid, split) for split in ("train", "val")]
        prepared = tfds_builders.prepare(
            sources, tmp_path, shards=2, progress=lambda done, total: seen.append((done, total))
        )
        assert seen == [(i, 7) for i in range(1, 8)]
        assert prepared.folder == tmp_path / "camvid_records" / "1.0.0"
        assert prepared.shards == {"train": 2, "val": 2}
        assert len(list(prepared.folder.glob("*-train.array_record-*"))) == 2
        names = {"data": data, "tfds": pytest.importorskip("tensorflow_datasets")}
        for line in prepared.how_to_open():
            assert len(eval(line, names)) == 5
        assert [p.name for p in prepared.folder.parent.iterdir()] == ["1.0.0"]

    def test_does_not_overwrite_unasked(self, camvid, camvid_records):
        out, source = camvid_records.parent.parent, data.CamVid(camvid, "val")
        with pytest.raises(data.DataError, match=r"already\. Replace it with overwrite=True"):
            tfds_builders.prepare([source], out)
        assert data.Records.splits(out) == ("train", "val")
        tfds_builders.prepare([source], out, overwrite=True)
        assert data.Records.splits(out) == ("val",) and len(data.Records(out, "val")) == 2
        assert [p.name for p in (out / "camvid_records").iterdir()] == ["1.0.0"]

    def test_does_not_replace_what_is_no_dataset(self, camvid, tmp_path):
        precious = tmp_path / "camvid_records" / "1.0.0" / "thesis.txt"
        precious.parent.mkdir(parents=True)
        precious.write_text("x")
        with pytest.raises(data.DataError, match="is no prepared dataset"):
            tfds_builders.prepare([data.CamVid(camvid)], tmp_path, overwrite=True)
        assert precious.read_text() == "x"

    def test_where_nothing_can_be_written(self, camvid, tmp_path):
        (tmp_path / "file").write_text("x")
        with pytest.raises(data.DataError, match="file.*cannot be written"):
            tfds_builders.prepare([data.CamVid(camvid)], tmp_path / "file")

    @pytest.mark.parametrize("old", [False, True])
    def test_stopped_half_way(self, camvid, tmp_path, old):
        source = data.CamVid(camvid)
        if old:
            tfds_builders.prepare([data.CamVid(camvid, "val")], tmp_path)

        def stop(done: int, total: int) -> None:
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            tfds_builders.prepare([source], tmp_path, overwrite=old, progress=stop)
        if old:  # it is still there, whole
            assert len(data.Records(tmp_path, "val", verify=True)) == 2
            assert [p.name for p in (tmp_path / "camvid_records").iterdir()] == ["1.0.0"]
        else:
            assert not (tmp_path / "camvid_records").exists()
        prepared = tfds_builders.prepare([source], tmp_path, overwrite=old)
        assert_same(data.Records(prepared.folder), source)

    def test_broken_picture_stops_it(self, camvid, tmp_path):
        broken = next((camvid / "trainannot").iterdir())
        broken.write_bytes(broken.read_bytes()[:60])
        with pytest.raises(data.DataError, match=broken.name):
            tfds_builders.prepare([data.CamVid(camvid)], tmp_path / "out")
        assert not any((tmp_path / "out").iterdir())

    @pytest.mark.parametrize(("change", "message"), [
        (lambda s: ([], {}), "no split to write"),
        (lambda s: ([ArraySource(0, train_pair)], {}), r"\(train\) has no samples to write"),
        (lambda s: ([s, s], {}), "split was given twice: train, train"),
        (lambda s: ([s], {"shards": 6}), r"6 shards of 5 samples .* at most 5"),
        (lambda s: ([s], {"shards": 0}), "0 shards"),
        (lambda s: ([s], {"name": "My data"}), "cannot be called 'My data'"),
        (lambda s: ([s], {"file_format": "csv"}), "no format 'csv'; there are array_record"),
    ])  # fmt: skip
    def test_wrong_arguments(self, camvid, tmp_path, change, message):
        sources, options = change(data.CamVid(camvid))
        with pytest.raises(data.DataError, match=message):
            tfds_builders.prepare(sources, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()

    def test_splits_of_different_classes_or_names(self, tmp_path):
        one, two = ArraySource(1, train_pair), ArraySource(1, train_pair)
        two.split, two.label_space = "val", label_spaces.get("cityscapes")
        with pytest.raises(data.DataError, match="'cityscapes' with 19 classes; expected"):
            tfds_builders.prepare([one, two], tmp_path)
        two.name = "other"
        with pytest.raises(data.DataError, match="One dataset at a time, got arrays, other"):
            tfds_builders.prepare([one, two], tmp_path)

    def test_two_samples_of_one_name(self, tmp_path):
        source = ArraySource(2, train_pair)
        plain = source.load
        source.load = lambda index: plain(index)._replace(name="same")
        with pytest.raises(data.DataError, match="two samples are called 'same'"):
            tfds_builders.prepare([source], tmp_path)

    def test_ids_that_are_no_class(self, tmp_path):
        with pytest.raises(data.DataError, match=r"the mask holds 11 "):
            tfds_builders.prepare([ArraySource(3, random_pair)], tmp_path)

    def test_large_without_tensorflow(self, camvid, tmp_path, monkeypatch):
        from keras_focusseg.data.records.tfds_builders import source_builder

        monkeypatch.setattr(source_builder.importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(source_builder, "_SORTED_IN_MEMORY", 1000)
        with pytest.raises(ImportError, match=r"keras-focusseg\[tensorflow\]"):
            tfds_builders.prepare([data.CamVid(camvid)], tmp_path)


class TestDamage:
    def shard(self, folder: Path) -> Path:
        return sorted(folder.glob("*-train.array_record-*"))[0]

    @pytest.mark.parametrize("keep", [0, 1000, -1])
    def test_truncated(self, camvid_records, keep):
        """The reader alone would say that such a file holds no records."""
        shard = self.shard(camvid_records)
        shard.write_bytes(shard.read_bytes()[:keep])
        with pytest.raises(data.DataError, match=rf"{shard.name}: has \d+ bytes; \d+ were"):
            data.Records(camvid_records)

    def test_missing(self, camvid_records):
        shard = self.shard(camvid_records)
        shard.unlink()
        with pytest.raises(data.DataError, match=rf"{shard.name}: the file is missing"):
            data.Records(camvid_records)

    def test_altered(self, camvid_records):
        shard = self.shard(camvid_records)
        content = bytearray(shard.read_bytes())
        content[200] ^= 0xFF
        shard.write_bytes(content)
        with pytest.raises(data.DataError, match=rf"{shard.name}: was altered .* SHA-256 is"):
            data.Records(camvid_records, verify=True)
        records = data.Records(camvid_records)  # of the same size, so this is quick and content
        with refused("damaged records", camvid_records, r"record 0 \('0001TP_.* damaged there"):
            list(records)

    def test_another_record_file_of_the_same_size(self, camvid_records):
        first, second = sorted(camvid_records.glob("*-train.array_record-*"))
        assert first.stat().st_size == second.stat().st_size
        first.write_bytes(second.read_bytes())
        with refused("damaged records", camvid_records, "record 0 .*: is sample '0006R0_f00930'"):
            list(data.Records(camvid_records))

    def test_sums_are_those_of_sha256sum(self, camvid_records):
        lines = (camvid_records / "SHA256SUMS").read_text().splitlines()
        listed = {line[66:]: line[:64] for line in lines}
        there = {p.name for p in camvid_records.iterdir()} - {"SHA256SUMS"}
        assert set(listed) == there >= {"focusseg.json", "metadata.json", "dataset_info.json"}
        assert all(record_files.sha256(camvid_records / n) == d for n, d in listed.items())

    @pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"version": 1}', "[" * 100_000])
    @pytest.mark.parametrize("name", ["focusseg.json", "metadata.json"])
    def test_json_that_is_not(self, camvid_records, name, content):
        (camvid_records / name).write_text(content)
        with pytest.raises(data.DataError, match=name):
            data.Records(camvid_records)
        assert data.Records.splits(camvid_records) == ()

    @pytest.mark.parametrize(("file", "keys", "value"), [
        ("focusseg.json", ("sizes",), {"../../x": 1}),
        ("focusseg.json", ("sizes",), 3),
        ("focusseg.json", ("format",), None),
        ("metadata.json", ("label_space",), {"name": "x"}),
        ("metadata.json", ("label_space", "classes"), []),
        ("metadata.json", ("splits",), []),
        ("metadata.json", ("splits", "train", "names"), ["a"]),
        ("metadata.json", ("splits", "train"), None),
    ])  # fmt: skip
    def test_contents_that_do_not_fit(self, camvid_records, file, keys, value):
        path = camvid_records / file
        content = json.loads(path.read_text())
        inner = content
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        path.write_text(json.dumps(content))
        if file == "metadata.json":  # whose size is known too
            index = json.loads((camvid_records / "focusseg.json").read_text())
            index["sizes"][file] = path.stat().st_size
            (camvid_records / "focusseg.json").write_text(json.dumps(index))
        with pytest.raises(data.DataError):
            data.Records(camvid_records)

    @pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
    def test_links_out_of_the_folder_are_refused(self, camvid_records, tmp_path):
        shard = self.shard(camvid_records)
        shard.rename(tmp_path / "outside")
        shard.symlink_to(tmp_path / "outside")
        with pytest.raises(data.DataError, match="is a link to .*outside"):
            data.Records(camvid_records)

    @pytest.mark.parametrize("line", ["0" * 64 + "  ../x", "0" * 63 + "  x", "x", "\xff"])
    def test_sums_that_are_none(self, camvid_records, line):
        (camvid_records / "SHA256SUMS").write_bytes(line.encode("latin-1") + b"\n")
        with pytest.raises(data.DataError, match="SHA256SUMS"):
            data.Records(camvid_records, verify=True)


class TestFinding:
    def test_nothing_or_twice(self, camvid, camvid_records, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(data.DataError, match=r"no prepared dataset is there; found nothing"):
            data.Records(tmp_path / "empty")
        with pytest.raises(data.DataError, match="the folder of the prepared dataset is not there"):
            data.Records(tmp_path / "nowhere")
        out = camvid_records.parent.parent
        tfds_builders.prepare([data.CamVid(camvid)], out, name="second")
        with pytest.raises(data.DataError, match=r"2 prepared datasets are there: 'camvid_rec"):
            data.Records(out)

    def test_unknown_split(self, camvid_records):
        with pytest.raises(data.DataError, match="'test' was not prepared; there are 'train', 'v"):
            data.Records(camvid_records, "test")
        with pytest.raises(data.DataError, match="names a split twice"):
            data.Records(camvid_records, "val+validation")

    def test_recognised_alone_and_not_beside_the_dataset(self, camvid, camvid_records):
        out = camvid_records.parent.parent
        assert all(data.recognize(f) == "records" for f in (out, out / "camvid_records"))
        out.rename(camvid / "prepared")
        assert data.recognize(camvid) == "camvid"


class TestCommand:
    @pytest.fixture
    def command(self):
        typer = pytest.importorskip("typer")
        from typer.testing import CliRunner

        app = typer.Typer()
        app.command()(data_prepare.prepare)
        return lambda *words: CliRunner().invoke(app, [str(word) for word in words])

    def test_writes_and_says_how_to_open(self, command, camvid, tmp_path):
        done = command("camvid", "--data-root", camvid, "--out", tmp_path / "out", "--shards", 2)
        assert done.exit_code == 0, done.output
        lines = done.output.splitlines()
        line = next(line.strip() for line in lines if "open_source" in line)
        assert_same(eval(line, {"data": data}), data.CamVid(camvid))
        assert "5 samples" in done.output and "Written: " in done.output
        again = command("camvid", "--data-root", camvid, "--out", tmp_path / "out")
        assert isinstance(again.exception, data.DataError) and "--overwrite" in str(again.exception)

    def test_auto_split_and_options(self, command, tmp_path):
        root = layouts.make_camvid_kaggle(tmp_path / "raw")
        done = command(
            "--data-root", root, "--out", tmp_path / "out", "--split", "val",
            "--option", "grouping=null", "--option", "official_split=false", "--name", "fine",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        records = data.Records(tmp_path / "out" / "fine", "val")
        assert records.label_space == label_spaces.get("camvid32")
        assert data.Records.splits(tmp_path / "out") == ("val",)

    def test_wrong_options(self, command, camvid):
        done = command("camvid", "--data-root", camvid, "--option", "grouping")
        assert "NAME=VALUE" in str(done.exception)
        done = command("camvid", "--data-root", camvid, "--format", "zip")
        assert "no format 'zip'" in str(done.exception)
