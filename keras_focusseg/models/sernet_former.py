"""SERNet-Former: attention-boosting gates in a residual network (arXiv 2401.15741).

The abstract, Eq. (1) and statements by the author are public; the body of the paper and his code
were not available to us. Marked below: [paper] is stated by the abstract or the author, [said] by
readers of the paper or a public port, [ours] fills a gap. A reimplementation layer by layer is
therefore not claimed; what is switched on and off here are the four parts that the author's
ablation names: AbM, DbN, AfN1, AfN2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_focusseg import backbones
from keras_focusseg.layers import (
    Add,
    ConvNormAct,
    DepthwiseConv2D,
    ReLU,
    ResizeLike,
    attention_boost,
    conv2d,
)
from keras_focusseg.layers.conv_norm_act import torch_conv_initializer
from keras_focusseg.losses import CrossEntropy
from keras_focusseg.models.panels import Drawing, Panel
from keras_focusseg.models.segmenter import Segmenter

GATES = range(1, 6)
# Convolutions inside an attention-fusion network [said].
FUSION_DEPTH = 3
GATED_FAMILIES = ("resnet", "mobilenet_v2", "mobilenet_edgetpu")


PANELS = (
    Panel(
        "Gates",
        "multiply a map by values between 0 and 1, here averaged over the channels; what is added "
        "is the mean size of the product. Brightness is scaled picture by picture, as told above "
        "each.",
        tuple(
            drawing
            for n in GATES
            for drawing in (
                Drawing("gate", f"gate{n}", f"gate {n}"),
                Drawing("size", f"boost{n}", f"added by gate {n}"),
            )
        ),
    ),
)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class SERNetFormer(Segmenter):
    """SERNet-Former in our reading: a residual encoder with gates, a dilated bridge, two AfNs.

    With the defaults it has 40,304,459 trainable parameters; the paper's count is not known to us.
    `model(images)` returns, for RGB images (B, H, W, 3) in 0..255, `"logits"`
    (B, H, W, num_classes), float32. With b the output of a batch normalisation,

    - a gate is `AbG(b) = sigmoid(b) * b`, Eq. (1), without parameters,
    - an attention-boosting module is `AbM(b) = ReLU(b) + AbG(b)`; in the encoder
      `ReLU(shortcut + b) + AbG(b)`, on the last block of every stage, and on the stem,
    - the bridge DbN is a sum of dilated 3x3 convolutions, each with AbM,
    - a fusion network is `AfN(x) = x + A3(A2(A1(x)))`, each A a 3x3 convolution with AbM. AfN2
      refines the bridge, AfN1 the stride-4 features that it is joined with.

    Args:
        num_classes: Number of classes.
        backbone: A name of `backbones.names()`, or a Keras model with outputs "P2" ... "P5". Gates
            are inside `resnet*` (the paper's), `mobilenet_v2` and `mobilenet_edgetpu` (ours); a
            model has them if it has the outputs of `backbones.build(name,
            attention_boosting=True)`.
        backbone_weights: `None`, `"imagenet"` or a checkpoint of the plain backbone, see
            `backbones.build`; the gates add no weights.
        output_stride: Stride of the backbone's last stage: 16 [ours, from hints], 8 or 32.
        dilate_backbone: Dilate the backbone in place of the strides that were taken out.
        attention_boosting: AbM in the backbone.
        bridge: DbN; if False, one 1x1 convolution stands there.
        afn1: AfN1, on the stride-4 features.
        afn2: AfN2, on the bridge.
        bridge_filters: Channels of the bridge and AfN2.
        bridge_dilation_rates: Dilation of each branch of DbN.
        bridge_merge: `"sum"`, or `"concat"`: joins the branches by a 1x1 convolution.
        bridge_separable: Depthwise and 1x1 convolutions in DbN, in place of full ones.
        skip_filters: Channels of the projected stride-4 features and AfN1.
        decoder_filters: Channels of the convolution that joins both.
        afn2_after_resize: AfN2 at stride 4 in place of the bridge's stride.
        class_weights: Weight of each class in the cross-entropy; all 1 by default.
        ignore_class: Mask value that is not counted.
        backbone_options: Further arguments of a named backbone, such as `{"alpha": 0.5}` or
            `{"drop_path_rate": 0.1}`.
        dtype: Dtype policy of the layers or its name, such as `"mixed_bfloat16"`; the one in
            force by default. A backbone that is given as a model keeps its own.
        name: Name of the model.

    Raises:
        ValueError: `bridge_merge` is unknown, `bridge_dilation_rates` is empty, the backbone has
            no pyramid, or gates are asked for in a backbone that has none.

    Example:
        ```python
        from keras_focusseg import models

        model = models.SERNetFormer(num_classes=11, backbone="resnet50")
        model.compile()    # cross-entropy, AdamW, mean IoU
        added = model.inspect(images)["boost5"]    # what the last gate adds
        plain = models.SERNetFormer(11, attention_boosting=False)    # AbM off
        ```
    """

    panels = PANELS

    def __init__(
        self,
        num_classes: int = 11,
        backbone: str | keras.Model = "resnet50",
        backbone_weights: str | None = None,
        output_stride: int = 16,
        dilate_backbone: bool = True,
        attention_boosting: bool = True,
        bridge: bool = True,
        afn1: bool = True,
        afn2: bool = True,
        bridge_filters: int = 256,
        bridge_dilation_rates: Sequence[int] = (12, 16, 18),
        bridge_merge: str = "sum",
        bridge_separable: bool = False,
        skip_filters: int = 64,
        decoder_filters: int = 256,
        afn2_after_resize: bool = False,
        class_weights: Sequence[float] | None = None,
        ignore_class: int | None = 255,
        backbone_options: Mapping[str, Any] | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        name: str = "sernet_former",
    ) -> None:
        if bridge_merge not in ("sum", "concat"):
            raise ValueError(f"bridge_merge must be 'sum' or 'concat', got {bridge_merge!r}.")
        if not bridge_dilation_rates:
            raise ValueError(
                "bridge_dilation_rates is empty: give the rate of each branch, such as "
                "(12, 16, 18), or switch the bridge off with bridge=False."
            )
        encoder = _encoder(
            backbone,
            backbone_weights,
            backbone_options,
            output_stride,
            dilate_backbone,
            attention_boosting,
        )

        images = keras.Input((None, None, 3), name="images")  # (B, H, W, 3)
        features = encoder(images)  # P5 is e5 (B, h, w, C); h = ceil(H / 16) by default

        if bridge:
            z = _bridge(
                features["P5"],
                bridge_filters,
                bridge_dilation_rates,
                bridge_merge,
                bridge_separable,
            )
        else:
            z = ConvNormAct(bridge_filters, name="bridge")(features["P5"])
        signals = {"bridge": z}  # (B, h, w, 256)
        if afn2 and not afn2_after_resize:
            z = signals["afn2"] = _attention_fusion(z, "afn2")

        s = ConvNormAct(skip_filters, name="skip")(features["P2"])  # of e2, (B, H/4, W/4, 64)
        signals["skip"] = s
        z = ResizeLike(name="decoder_resize")(z, s)  # (B, H/4, W/4, 256)
        if afn2 and afn2_after_resize:
            z = signals["afn2"] = _attention_fusion(z, "afn2")
        if afn1:
            s = signals["afn1"] = _attention_fusion(s, "afn1")

        y = keras.layers.Concatenate(name="decoder_concat")([z, s])  # (B, H/4, W/4, 320)
        y = ConvNormAct(decoder_filters, 3, name="decoder")(y)  # (B, H/4, W/4, 256)
        y = signals["decoded"] = conv2d(num_classes, name="classifier")(y)
        # From stride 4 to the image in one step [said].
        logits = ResizeLike(dtype="float32", name="logits")(y, images)  # (B, H, W, classes)

        if attention_boosting:
            for n in GATES:
                multiplier = keras.layers.Activation("sigmoid", dtype="float32", name=f"gate{n}")
                signals[f"gate{n}"] = multiplier(features[f"norm{n}"])  # in 0..1
                signals[f"boost{n}"] = features[f"boost{n}"]

        super().__init__(
            images,
            {"logits": logits},
            signals=signals,
            pyramid=features,
            num_classes=num_classes,
            ignore_class=ignore_class,
            name=name,
        )
        self.backbone = encoder
        self.cross_entropy = CrossEntropy(ignore_class=ignore_class, class_weights=class_weights)

    def loss_terms(self, y: Any, y_pred: Mapping[str, Any], sample_weight: Any = None) -> dict:
        """Cross-entropy over the pixels that are not ignored.

        Args:
            y: Integer masks (B, H, W).
            y_pred: Outputs of the model.
            sample_weight: Weights (B,) or (B, H, W).

        Returns:
            The term as a float32 scalar.
        """
        return {"cross_entropy": self.cross_entropy(y, y_pred["logits"], sample_weight)}

    def loss_term_weights(self) -> dict[str, float]:
        """1."""
        return {"cross_entropy": 1.0}


def _encoder(
    backbone: str | keras.Model,
    weights: str | None,
    more: Mapping[str, Any] | None,
    output_stride: int,
    dilate: bool,
    attention_boosting: bool,
) -> keras.Model:
    """The pyramid with or without AbM, or an error where gates cannot be put."""
    options: dict[str, Any] = {"output_stride": output_stride}
    if isinstance(backbone, str):
        gated = backbone.startswith(GATED_FAMILIES) or backbone not in backbones.names()
        if attention_boosting and not gated:
            raise ValueError(
                f"backbone {backbone!r} has no place for attention-boosting gates: they are built "
                f"into {', '.join(GATED_FAMILIES)} networks. Take one of these, or pass "
                "attention_boosting=False."
            )
        if gated:
            options.update(dilate=dilate, attention_boosting=attention_boosting)
    encoder = backbones.as_pyramid(backbone, weights, more, **options)
    has_gates = {f"{what}{n}" for what in ("norm", "boost") for n in GATES} <= set(encoder.output)
    if has_gates != attention_boosting:
        raise ValueError(
            f"attention_boosting={attention_boosting}, but backbone {encoder.name!r} is a model "
            f"{'without' if attention_boosting else 'with'} gates, and a model is taken as it is. "
            f"Build it with backbones.build(name, attention_boosting={attention_boosting}), or "
            f"pass attention_boosting={not attention_boosting}."
        )
    return encoder


def _boosted_conv(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """A(x) = ReLU(b) + sigmoid(b) * b with b = BN(conv3x3(x))."""
    return _boosted(ConvNormAct(filters, 3, activation=None, name=name)(x), name)


def _boosted(b: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """AbM(b) = ReLU(b) + AbG(b)."""
    filtered = ReLU(name=f"{name}_relu")(b)
    return attention_boost(filtered, b, name=f"{name}_abm")[0]


def _bridge(
    x: keras.KerasTensor, filters: int, rates: Sequence[int], merge: str, separable: bool
) -> keras.KerasTensor:
    """DbN: dilated convolutions side by side [paper]; rates and sum as in a public port [said]."""
    branches = []
    for i, rate in enumerate(rates):
        name = f"bridge_{i}"
        branch = x
        if separable:
            branch = DepthwiseConv2D(
                3,
                padding="same",
                dilation_rate=rate,
                data_format="channels_last",
                use_bias=False,
                depthwise_initializer=torch_conv_initializer(),
                name=f"{name}_depthwise",
            )(x)
        kernel, spacing = (1, 1) if separable else (3, rate)
        b = ConvNormAct(filters, kernel, spacing, activation=None, name=name)(branch)
        branches.append(_boosted(b, name))  # (B, h, w, 256)
    if len(branches) == 1:
        return branches[0]
    if merge == "sum":
        return Add(name="bridge_sum")(branches)
    z = keras.layers.Concatenate(name="bridge_concat")(branches)
    return ConvNormAct(filters, name="bridge_merge")(z)


def _attention_fusion(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """AfN(x) = x + A3(A2(A1(x))), the width kept [ours, after the port]."""
    y = x
    for i in range(FUSION_DEPTH):
        y = _boosted_conv(y, x.shape[-1], f"{name}_{i}")
    return Add(name=f"{name}_add")([x, y])
