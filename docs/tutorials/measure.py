# %% [markdown]
# # Measure honestly
#
# A score is easy to get and easy to get wrong. This page takes the usual traps one by one: pixels that do
# not count, means that differ, splits that leak, boundaries that a mean IoU does not see, and a confidence
# that promises too much.

# %% tags=["install"]
# %pip install -q "keras-focusseg[tensorflow,viz]"

# %%
import numpy as np

from keras_focusseg import data, inference, metrics, presets

source = data.SyntheticStreets(count=12, size=(180, 240), seed=2026, split="test")
model = presets.load("fornet_mobilenet_v2_synthetic_streets")
scores = inference.evaluate(model, source)
print(f"mean IoU {100 * scores.mean_iou:.1f} on {scores.frames} images of {scores.resolution}")

# %% [markdown]
# ## Pixels that do not count
#
# Annotators leave pixels open, and their ids (255 here) are in no class. They must not be scored: not as
# right, not as wrong, not as a class. Here is what happens if they are taken for a class of their own.

# %%
truth = np.array([[0, 0, 1, 1], [0, 0, 255, 255]], "uint8")
prediction = np.array([[0, 0, 1, 1], [0, 1, 1, 1]], "uint8")

right = metrics.ConfusionMatrix(num_classes=2, ignore_class=255)
right.update(truth, prediction)
print("void ignored:     ", metrics.iou_per_class(right.matrix).round(3))

wrong = metrics.ConfusionMatrix(num_classes=3, ignore_class=None)
wrong.update(np.where(truth == 255, 2, truth), prediction)
print("void as a class:  ", metrics.iou_per_class(wrong.matrix).round(3))

# %% [markdown]
# The second line punishes class 1 for pixels that nobody labelled, and drags a third class of IoU 0 into
# the mean.
#
# ## One matrix, not a mean of images
#
# The benchmarks add the pixels of all images in one confusion matrix and take the IoU of the sums. A mean
# over the images is another number: a class that fills three pixels of one image weighs as much there as
# one that fills half of it.

# %%
per_image = []
for i in range(len(source)):
    sample = source.load(i)
    labels = model.predict_labels(sample.image[None], verbose=0)["labels"][0]
    one = metrics.ConfusionMatrix(model.num_classes, 255)
    one.update(sample.mask, labels)
    per_image.append(one.matrix)
print(f"IoU of the sums:    {100 * metrics.mean_iou(sum(per_image)):.1f}")
print(
    f"mean of the images: {100 * np.mean([metrics.mean_iou(matrix) for matrix in per_image]):.1f}"
)

# %% [markdown]
# ## How sure is that figure?
#
# Draw the images anew, with replacement, many times, and look at how the score moves: a bootstrap interval
# over images. Pixels of one image are no independent draws, so never draw pixels.

# %%
rng = np.random.default_rng(0)
matrices = np.stack(per_image)
drawn = [
    100 * metrics.mean_iou(matrices[rng.integers(0, len(matrices), len(matrices))].sum(0))
    for _ in range(1000)
]
low, high = np.percentile(drawn, [2.5, 97.5])
print(f"95 % of the draws lie between {low:.1f} and {high:.1f}")

# %% [markdown]
# Twelve images say little; that is what the width of the interval means. And it says nothing about other
# seeds of the training: for that, train more than once.
#
# ## Splits that leak
#
# Frames of one film are nearly the same picture. If one lies in the training split and its neighbour in the
# validation split, the score is that of pictures the network has seen. `focusseg data check` looks for
# equal and nearly equal pictures and for neighbours in a video; here a training picture got into `val`:

# %%
import shutil
from pathlib import Path

from PIL import Image

for i in range(6):
    sample = source.load(i)
    split = "train" if i < 4 else "val"
    for folder, pixels in (("images", sample.image), ("masks", sample.mask)):
        path = Path("leaky", folder, split, f"{i}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
for folder in ("images", "masks"):
    shutil.copy(f"leaky/{folder}/train/0.png", f"leaky/{folder}/val/other_name.png")

report = data.check("auto", "leaky")
print(report.verdict())
for finding in report.findings:
    if finding.severity == "error":
        print(f"{finding.severity}: {finding.kind} ({finding.split}). {finding.fix}")

# %% [markdown]
# ## Boundaries
#
# Most pixels lie far from any boundary, so the share of right pixels hardly notices outlines that are off,
# and a mean IoU notices it for thin things alone. The boundary F1 asks how much of the outlines is right
# within a tolerance. Here a perfect map is moved three pixels to the right:

# %%
sample = source.load(0)
moved = np.concatenate([sample.mask[:, :3], sample.mask[:, :-3]], axis=1)
whole = metrics.ConfusionMatrix(model.num_classes, 255)
whole.update(sample.mask, moved)
print(f"pixel accuracy {100 * metrics.pixel_accuracy(whole.matrix):.1f}")
print(f"mean IoU       {100 * metrics.mean_iou(whole.matrix):.1f}")
for tolerance in (1, 2, 4):
    edges = metrics.BoundaryScores(model.num_classes, tolerance=tolerance, ignore_class=255)
    edges.update(sample.mask, moved)
    print(f"boundary F1 at {tolerance} px {100 * edges.result()['boundary_f1']:.1f}")

# %% [markdown]
# ## Confidence
#
# A network that says 0.9 should be right nine times in ten. Sort the pixels by their confidence, and
# compare:

# %% alt="How often the network is right, against how sure it says it is"
import matplotlib.pyplot as plt
from IPython.display import display

sure, hits = [], []
for i in range(len(source)):
    sample = source.load(i)
    result = model.predict_labels(sample.image[None], verbose=0)
    valid = sample.mask != 255
    sure.append(result["confidence"][0][valid])
    hits.append((result["labels"][0] == sample.mask)[valid])
sure, hits = np.concatenate(sure), np.concatenate(hits)
bins = np.clip((sure * 10).astype(int), 0, 9)
there = [b for b in range(10) if (bins == b).any()]
said = [sure[bins == b].mean() for b in there]
was = [hits[bins == b].mean() for b in there]
error = sum((bins == b).mean() * abs(s - w) for b, s, w in zip(there, said, was, strict=True))
print(f"expected calibration error {error:.3f}")

figure, axes = plt.subplots(figsize=(4, 3.6), layout="constrained")
axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
axes.plot(said, was, marker="o")
axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
display(figure)
plt.close(figure)

# %% [markdown]
# ## What to write beside a score
#
# Data set and copy, split, resolution, classes, what was ignored, test-time settings, how many images, and
# how the checkpoint was chosen: if by the same split, say so. The records of this library do:

# %%
record = presets.record("fornet_mobilenet_v2_camvid")
print({key: value for key, value in record.scores[0].items() if key != "iou_per_class"})
