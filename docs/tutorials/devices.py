# %% [markdown]
# # From one CPU to many GPUs and to TPUs
#
# The same recipe on one device and on several, with the same result. This page has no GPUs: it cuts its CPU
# into two logical devices, which is enough to see that nothing changes but the time. What needs other
# machines is told, and called not run.

# %% tags=["install"]
# %pip install -q "keras-focusseg[tensorflow]"

# %% [markdown]
# ## Two devices
#
# TensorFlow has to be told before anything is computed. On a machine with GPUs this cell is not needed.

# %%
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
print(tf.config.list_logical_devices("CPU"))

# %% [markdown]
# ## One recipe
#
# `batch_size` is that of all devices together. With two devices each computes four of the eight images.

# %%
from keras_focusseg import training
from keras_focusseg.data import Augment

recipe = training.Recipe(
    name="streets",
    network="FoRNet",
    network_config={
        "backbone": "mobilenet_v2",
        "output_stride": 32,
        "neck": "fpn",
        "filters": 16,
    },
    dataset="synthetic_streets",
    train_options={"count": 16, "size": (64, 96)},
    val_options={"count": 5, "size": (64, 96)},
    augment=Augment(crop_size=(64, 96)).to_config(),
    batch_size=8,
    epochs=2,
    learning_rate=1e-3,
)

# %%
training.train(recipe, run_folder="runs/one")
training.train(recipe, run_folder="runs/two", strategy="mirrored")

# %% [markdown]
# ## The same run
#
# Ignored pixels lie unevenly among the devices, and a mean of two means is not the mean of all pixels. So
# sums cross the devices before anything is divided: losses, gradient norms, batch-norm statistics, the
# counts of the mean IoU. The two logs agree up to the order of sums in float32:

# %%
import csv


def log(folder):
    """The rows of a run's log as numbers."""
    with open(f"{folder}/log.csv") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


for one, two in zip(log("runs/one"), log("runs/two"), strict=True):
    for name in ("cross_entropy", "dice", "selector", "mean_iou", "val_loss", "val_mean_iou"):
        print(f"epoch {one['epoch']:.0f} {name:14} {one[name]:.5f} {two[name]:.5f}")

# %% [markdown]
# ## In a `fit` of your own
#
# Everything happens inside one scope; `"auto"` takes what the machine or the job offers.
#
# ```python
# with training.distribution("auto").scope():
#     model = models.FoRNet(num_classes=11, backbone="resnet18")
#     model.compile()
#     model.fit(train, validation_data=val, epochs=10)
# ```
#
# ## The commands for larger machines
#
# | machine | command |
# |---|---|
# | one GPU | `focusseg train RECIPE` |
# | eight GPUs, TensorFlow | `focusseg train RECIPE --strategy mirrored` |
# | eight GPUs or a TPU, JAX | `KERAS_BACKEND=jax focusseg train RECIPE --strategy data_parallel` |
# | eight GPUs, PyTorch | `KERAS_BACKEND=torch torchrun --nproc-per-node 8 -m keras_focusseg.cli train RECIPE --strategy ranks` |
# | a TPU, TensorFlow | `TPU_NAME=... focusseg train RECIPE --strategy tpu` |
#
# None of these was run for this page. [From one CPU to a TPU pod](../guides/train-on-many-devices.md) says
# what was run, what is exact on which engine, and how several machines find each other.
#
# ## What changes with more devices
#
# - **Nothing, if the recipe stays as it is**: the same batch, sooner, until a device has too little to do.
# - **Learning rate**, if you raise `batch_size` with the devices: with SGD in proportion, with AdamW rather
#   by the root; a longer `warmup_steps`. Expect to search; nothing of it was measured here.
# - **Batch norm** sees the whole batch. On one device with fewer than four images freeze that of the
#   backbone: `freeze_backbone_norm=True`.
# - **Feeding**: a fast device waits for decoding and augmentation. [Two feeds](../data/other-augmentations.md)
#   has threads, processes, and shards for several machines.
