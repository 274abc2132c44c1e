"""What the networks of this library are compared with: DeepLabV3+ and a plain feature pyramid.

They are trained, stored and scored as the library's networks are, once this file is imported, and
are not part of the package. So is FoR-Net with cells that are drawn in place of the hardest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_focusseg import backbones
from keras_focusseg.layers import ConvNormAct, ResizeLike, TopKMasks, conv2d
from keras_focusseg.losses import CrossEntropy, Dice
from keras_focusseg.models import FoRNet, Segmenter

PACKAGE = "baselines"


class Baseline(Segmenter):
    """A decoder on a feature pyramid, trained with cross-entropy and, if asked for, Dice.

    Args:
        images: The input (B, H, W, 3).
        decoded: Features (B, h, w, C) that the classifier reads.
        encoder: The pyramid model.
        num_classes: Number of classes.
        dice_weight: Weight of the Dice term, as in FoR-Net's loss; 0 leaves it out.
        class_weights: Weight of each class in the cross-entropy; all 1 by default.
        ignore_class: Mask value that is not counted.
        name: Name of the model.
    """

    def __init__(
        self,
        images: keras.KerasTensor,
        decoded: keras.KerasTensor,
        encoder: keras.Model,
        num_classes: int,
        dice_weight: float,
        class_weights: Sequence[float] | None,
        ignore_class: int | None,
        name: str,
    ) -> None:
        y = conv2d(num_classes, name="classifier")(decoded)
        logits = ResizeLike(dtype="float32", name="logits")(y, images)  # (B, H, W, classes)
        super().__init__(
            images,
            {"logits": logits},
            signals={"decoded": decoded},
            num_classes=num_classes,
            ignore_class=ignore_class,
            name=name,
        )
        self.backbone = encoder
        self._terms: dict[str, Any] = {
            "cross_entropy": CrossEntropy(ignore_class=ignore_class, class_weights=class_weights)
        }
        self._term_weights = {"cross_entropy": 1.0}
        if dice_weight:
            self._terms["dice"] = Dice(ignore_class=ignore_class)
            self._term_weights["dice"] = dice_weight

    def loss_terms(self, y: Any, y_pred: Mapping[str, Any], sample_weight: Any = None) -> dict:
        """The terms, unweighted."""
        return {
            name: loss(y, y_pred["logits"], sample_weight) for name, loss in self._terms.items()
        }

    def loss_term_weights(self) -> dict[str, float]:
        """1, `dice_weight`."""
        return dict(self._term_weights)


@keras.saving.register_keras_serializable(package=PACKAGE)
class DeepLabV3Plus(Baseline):
    """DeepLabV3+ (arXiv 1802.02611): separable atrous pyramid pooling, then stride-4 features.

    The atrous convolutions are depthwise, then 1x1, as in the paper; the decoder's are full.

    Args:
        num_classes: Number of classes.
        backbone: A name of `backbones.names()`, or a model with a pyramid.
        backbone_weights: As for `backbones.build`.
        output_stride: Stride of the backbone's last stage.
        filters: Channels of the branches and of the decoder; 256 in the paper.
        low_level_filters: Channels of the projected stride-4 features.
        dilation_rates: Of the atrous branches; (6, 12, 18) in the paper, for crops of 513 pixels.
        dice_weight: As for `Baseline`.
        class_weights: As for `Baseline`.
        ignore_class: As for `Baseline`.
        dtype: Dtype policy of the layers.
        name: Name of the model.
    """

    def __init__(
        self,
        num_classes: int = 11,
        backbone: str | keras.Model = "mobilenet_edgetpu",
        backbone_weights: str | None = None,
        output_stride: int = 16,
        filters: int = 256,
        low_level_filters: int = 48,
        dilation_rates: Sequence[int] = (6, 12, 18),
        dice_weight: float = 0.0,
        class_weights: Sequence[float] | None = None,
        ignore_class: int | None = 255,
        dtype: str | keras.DTypePolicy | None = None,
        name: str = "deeplab_v3_plus",
    ) -> None:
        encoder = backbones.as_pyramid(backbone, backbone_weights, output_stride=output_stride)
        images = keras.Input((None, None, 3), name="images")  # (B, H, W, 3)
        pyramid = encoder(images)

        x = pyramid["P5"]  # (B, h, w, C)
        branches = [ConvNormAct(filters, name="aspp0")(x)]
        for i, rate in enumerate(dilation_rates, start=1):
            y = keras.layers.DepthwiseConv2D(
                3,
                padding="same",
                dilation_rate=rate,
                data_format="channels_last",
                use_bias=False,
                name=f"aspp{i}_depthwise",
            )(x)
            branches.append(ConvNormAct(filters, name=f"aspp{i}")(y))
        pool = keras.layers.GlobalAveragePooling2D("channels_last", keepdims=True, name="pool")
        pooled = ConvNormAct(filters, name="aspp_pool")(pool(x))  # (B, 1, 1, F)
        branches.append(ResizeLike(name="pool_resize")(pooled, x))
        y = keras.layers.Concatenate(name="aspp_concat")(branches)
        y = ConvNormAct(filters, name="aspp_project")(y)  # (B, h, w, F)

        low = ConvNormAct(low_level_filters, name="low_level")(pyramid["P2"])
        y = ResizeLike(name="decoder_resize")(y, low)  # (B, H/4, W/4, F)
        y = keras.layers.Concatenate(name="decoder_concat")([y, low])
        for i in range(2):
            y = ConvNormAct(filters, 3, name=f"decoder{i}")(y)
        super().__init__(
            images, y, encoder, num_classes, dice_weight, class_weights, ignore_class, name
        )


@keras.saving.register_keras_serializable(package=PACKAGE)
class PlainFPN(Baseline):
    """The levels of a pyramid added from coarse to fine (arXiv 1612.03144), then one convolution.

    Args:
        num_classes: Number of classes.
        backbone: A name of `backbones.names()`, or a model with a pyramid.
        backbone_weights: As for `backbones.build`.
        output_stride: Stride of the backbone's last stage.
        filters: Channels of the decoder.
        dice_weight: As for `Baseline`.
        class_weights: As for `Baseline`.
        ignore_class: As for `Baseline`.
        dtype: Dtype policy of the layers.
        name: Name of the model.
    """

    def __init__(
        self,
        num_classes: int = 11,
        backbone: str | keras.Model = "mobilenet_edgetpu",
        backbone_weights: str | None = None,
        output_stride: int = 16,
        filters: int = 128,
        dice_weight: float = 0.0,
        class_weights: Sequence[float] | None = None,
        ignore_class: int | None = 255,
        dtype: str | keras.DTypePolicy | None = None,
        name: str = "plain_fpn",
    ) -> None:
        encoder = backbones.as_pyramid(backbone, backbone_weights, output_stride=output_stride)
        images = keras.Input((None, None, 3), name="images")  # (B, H, W, 3)
        pyramid = encoder(images)
        y = ConvNormAct(filters, name="lateral_p5")(pyramid["P5"])
        for level in ("P4", "P3", "P2"):
            lateral = ConvNormAct(filters, name=f"lateral_{level.lower()}")(pyramid[level])
            y = ResizeLike(name=f"resize_{level.lower()}")(y, lateral)
            y = keras.layers.Add(name=f"add_{level.lower()}")([lateral, y])
        y = ConvNormAct(filters, 3, name="smooth")(y)  # (B, H/4, W/4, F)
        super().__init__(
            images, y, encoder, num_classes, dice_weight, class_weights, ignore_class, name
        )


@keras.saving.register_keras_serializable(package=PACKAGE)
class RandomScores(keras.layers.Layer):
    """Scores that say nothing: uniform noise of the shape of its input."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, z: Any) -> Any:
        """(B, H, W, 1) to noise of that shape."""
        return keras.random.uniform(ops.shape(z), seed=self.seed_generator)

    def compute_output_shape(self, z_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As the input."""
        return z_shape


@keras.saving.register_keras_serializable(package=PACKAGE)
class RandomCellsFoRNet(FoRNet):
    """FoR-Net whose branches see as many cells as ever, drawn anew for every image.

    The selector is there and trained as it was; only the choice does not listen to it.
    """

    @staticmethod
    def choose_cells(z: keras.KerasTensor, ratios: Sequence[float]) -> keras.KerasTensor:
        """Nested masks of random cells."""
        return TopKMasks(ratios, name="top_k")(RandomScores(dtype="float32", name="noise")(z))
