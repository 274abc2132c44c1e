"""SCRNet: semantic and contextual refinements (arXiv 2412.08671).

A backbone, a contextual refinement module (CRM) on all its stages, a feature pyramid whose every
upsampling is a semantic refinement module (SRM), trained with cross-entropy and a contrastive loss
among pixels. "SCRNet" is this library's working name; the paper gives its network none. The
paper's body was not available: what it says in its abstract and in summaries is followed, and
every width, initialisation, wiring detail and setting beyond that is this library's choice. The
page "SCRNet" of the documentation keeps the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from keras_focusseg import backbones
from keras_focusseg.layers import (
    Add,
    AlignedAggregation,
    BilinearUpsampling,
    ContextualRefinement,
    ContextVariant,
    ConvNormAct,
    CropLike,
    FlowAlignment,
    PadToMultiple,
    PyramidPooling,
    ResizeLike,
    SemanticRefinement,
    conv2d,
)
from keras_focusseg.layers.context_variants import ORDERS
from keras_focusseg.losses import CrossEntropy, PixelContrast
from keras_focusseg.models.panels import Drawing, Panel
from keras_focusseg.models.segmenter import Segmenter

SHORTEST = 1e-12  # length below which a vector has no direction
CONTEXTS = (*ORDERS, "pyramid_pooling", "none")
UPSAMPLINGS = ("srm", "bilinear", "fam", "align_fa")
HEAVY_BACKBONE = 22_000_000  # parameters above which the decoder is 256 wide: not ResNet-34


LEVELS = ("P4", "P3", "P2")  # from coarse to fine, as the decoder goes
PANELS = (
    Panel(
        "Attention",
        "shows how much all positions take from each one: by the pairwise term, averaged over "
        "those that take, and by the unary term, the same for all. The matrix has a row for each "
        "channel and shows what it gathers from the others.",
        (
            Drawing("pairs", "spatial_attention", "pairwise attention", beside="context"),
            Drawing("shares", "unary_attention", "unary attention"),
            Drawing("matrix", "channel_attention", "channel attention"),
        ),
    ),
    Panel(
        "Offsets",
        "point from a cell to the place whose features it takes when a map is enlarged: the hue is "
        "the direction, as on the wheel, white is no offset, and the darkened ones, 1 % of them, "
        "are longer than told. Lengths are in cells of the map, four pixels a side for P2, eight "
        "for P3, sixteen for P4. The initial ones are predicted cell by cell; the refined ones are "
        "their weighted sums over 3 x 3 neighbours, with weights that are dark where all count "
        "alike and light where one decides.",
        (
            *(
                Drawing(
                    "offsets",
                    f"offsets_{level.lower()}",
                    f"refined offsets {level}",
                    beside=f"initial_offsets_{level.lower()}",
                )
                for level in LEVELS
            ),
            Drawing("arrows", "offsets_p2", "refined offsets P2"),
            *(
                Drawing(
                    "offsets",
                    f"initial_offsets_{level.lower()}",
                    f"initial offsets {level}",
                    beside=f"offsets_{level.lower()}",
                )
                for level in LEVELS
            ),
            *(
                Drawing("choice", f"offset_weights_{level.lower()}", f"neighbours' weights {level}")
                for level in LEVELS
            ),
        ),
    ),
)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class SCRNet(Segmenter):
    """SCRNet, a segmentation network that aligns what it upsamples and attends to all stages.

    With the defaults (MSCAN-S, 19 classes) it has about 14.9 million parameters and needs 138.0 G
    multiply-accumulates for an image of 1024x2048. `model(images)` returns, for RGB images
    (B, H, W, 3) in 0..255,

    - `"logits"` (B, H, W, num_classes), float32,
    - `"coarse_logits"` (B, h, w, num_classes) with h = ceil(H / 4), before the last upsampling,
    - `"embedding"` (B, h, w, embedding_filters), float32 unit vectors.

    The last two serve the contrastive loss; they are absent if `contrast_weight` is 0, and
    segmenting, evaluating and profiling compute the logits alone. Images are continued at the
    bottom and the right to a multiple of the backbone's stride, and the results cropped.

    Args:
        num_classes: Number of classes.
        backbone: A name of `backbones.names()`, or a Keras model with outputs "P2" ... "P5".
        backbone_weights: `None`, `"imagenet"` or a checkpoint, see `backbones.build`.
        output_stride: Stride of the backbone's last stage; backbones with attention know 32 only.
        filters: Channels of the decoder, D. By default 128, and 256 on backbones of more than 22
            million parameters (ResNet-50, MSCAN-B, VAN-B2 and larger).
        context: The module on the coarsest map: `"channel_spatial"` for CRM, `"spatial_channel"`
            for its blocks in the other order, `"parallel"`, `"channel"` or `"spatial"` for one of
            them, `"pyramid_pooling"` for PSPNet's, `"none"` for the last stage as it is.
        context_filters: Channels inside that module.
        channel_attention: `"affinity"` (CRM's) or `"squeeze_excite"`, see `ContextVariant`.
        pooling: How the stages come to one size, `"average"` (CRM's) or `"max"`.
        upsampling: `"srm"`, or what it is compared with: `"bilinear"`, `"fam"` for SFNet's
            `FlowAlignment`, `"align_fa"` for AlignSeg's `AlignedAggregation`.
        offset_filters: Channels of the offset network; half of `filters` by default, all of them
            for `"align_fa"`.
        offset_mask: Weight mask of SRM: `"softmax"`, `"sigmoid"` or `None`.
        offset_padding: What SRM reads beyond the border, `"border"` or `"zeros"`.
        dropout: Share of the channels dropped before the classifier.
        embedding_filters: Channels of the embedding.
        contrast_weight: Weight of the contrastive loss; 0 leaves out the embedding as well.
        contrast_warmup: Optimizer steps before which that weight is 0; counted in a weight of the
            model, so that saved and resumed training goes on counting.
        temperature: Temperature of the contrastive loss.
        max_samples: Anchors of the contrastive loss in a batch, at most.
        max_views: Anchors a class and image, at most; classes with no more pixels take no part.
        class_weights: Weight of each class in the cross-entropy; all 1 by default.
        ignore_class: Mask value that is not counted.
        backbone_options: Further arguments of a named backbone, such as `{"alpha": 0.5}` or
            `{"drop_path_rate": 0.1}`.
        dtype: Dtype policy of the layers or its name, such as `"mixed_bfloat16"`; the one in
            force by default. A backbone that is given as a model keeps its own.
        name: Name of the model.

    Raises:
        ValueError: An argument is unknown, or the backbone has no pyramid.

    Example:
        ```python
        from keras_focusseg import models

        model = models.SCRNet(num_classes=11, backbone="resnet18", filters=64)
        model.compile()    # cross-entropy + 0.1 contrastive, AdamW, mean IoU
        offsets = model.inspect(images)["offsets_p2"]    # (B, H / 4, W / 4, 2), in cells
        ```
    """

    panels = PANELS

    def __init__(
        self,
        num_classes: int = 19,
        backbone: str | keras.Model = "mscan_s",
        backbone_weights: str | None = None,
        output_stride: int = 32,
        filters: int | None = None,
        context: str = "channel_spatial",
        context_filters: int = 512,
        channel_attention: str = "affinity",
        pooling: str = "average",
        upsampling: str = "srm",
        offset_filters: int | None = None,
        offset_mask: str | None = "softmax",
        offset_padding: str = "border",
        dropout: float = 0.1,
        embedding_filters: int = 256,
        contrast_weight: float = 0.1,
        contrast_warmup: int = 5000,
        temperature: float = 0.1,
        max_samples: int = 1024,
        max_views: int = 100,
        class_weights: Sequence[float] | None = None,
        ignore_class: int | None = 255,
        backbone_options: Mapping[str, Any] | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        name: str = "scrnet",
    ) -> None:
        if context not in CONTEXTS:
            raise ValueError(f"context must be one of {CONTEXTS}, got {context!r}.")
        if upsampling not in UPSAMPLINGS:
            raise ValueError(f"upsampling must be one of {UPSAMPLINGS}, got {upsampling!r}.")
        if contrast_weight < 0 or contrast_warmup < 0:
            raise ValueError(
                "contrast_weight and contrast_warmup must be 0 or more, got "
                f"{contrast_weight} and {contrast_warmup}."
            )
        encoder = backbones.as_pyramid(
            backbone, backbone_weights, backbone_options, output_stride=output_stride
        )
        if filters is None:
            filters = 256 if encoder.count_params() > HEAVY_BACKBONE else 128
        signals: dict[str, keras.KerasTensor] = {}

        images = keras.Input((None, None, 3), name="images")  # (B, H, W, 3)
        stride = backbones.pyramid_stride(encoder, "P5")
        x = PadToMultiple(stride, dtype="float32", name="pad")(images)  # (B, H', W', 3)
        pyramid = encoder(x)
        stages = [pyramid[level] for level in ("P2", "P3", "P4", "P5")]  # strides 4, 8, 16, 32

        # Contextual refinement at stride 32.
        if context == "none":
            c = stages[-1]
        elif context == "pyramid_pooling":
            c = PyramidPooling(context_filters, name="context")(stages[-1])
        else:
            crm = _context_module(context, context_filters, channel_attention, pooling)
            c, attention = crm(stages, return_attention=True)  # (B, H'/32, W'/32, context_filters)
            signals |= attention
        signals["context"] = c

        # Feature pyramid, every upsampling a semantic refinement.
        upsamplers: dict[str, Callable[..., keras.layers.Layer]] = {
            "srm": partial(SemanticRefinement, offset_filters, offset_mask, offset_padding),
            "bilinear": BilinearUpsampling,
            "fam": partial(FlowAlignment, offset_filters),
            "align_fa": partial(AlignedAggregation, offset_filters),
        }
        p = ConvNormAct(filters, name="lateral_p5")(c)  # (B, H'/32, W'/32, D)
        for level in LEVELS:
            lateral = ConvNormAct(filters, name=f"lateral_{level.lower()}")(pyramid[level])
            srm = upsamplers[upsampling](name=f"srm_{level.lower()}")
            aligned, fields = srm(p, lateral, return_fields=True)
            cells = backbones.pyramid_stride(encoder, level)
            for field, value in fields.items():
                signal = f"{field}_{level.lower()}"
                signals[signal] = CropLike(cells, dtype="float32", name=signal)(value, images)
            p = Add(name=f"add_{level.lower()}")([lateral, aligned])
        p = ConvNormAct(filters, 3, name="smooth")(p)  # (B, H'/4, W'/4, D)
        signals["decoded"] = p

        # The shape is the default one. Where none is given, Keras (3.15) draws from PyTorch's own
        # generator there, whose state no checkpoint holds.
        whole_shape = (None, None, None, None)
        y = keras.layers.Dropout(dropout, noise_shape=whole_shape, name="dropout")(p)
        y = conv2d(num_classes, name="classifier")(y)  # (B, H'/4, W'/4, classes)
        whole = ResizeLike(dtype="float32", name="enlarge")(y, x)  # (B, H', W', classes)
        outputs = {"logits": CropLike(dtype="float32", name="logits")(whole, images)}
        if contrast_weight:
            fine = backbones.pyramid_stride(encoder, "P2")
            z = conv2d(embedding_filters, name="embedding_conv")(p)
            z = UnitVectors(dtype="float32", name="unit_vectors")(z)
            z = StepCount(dtype="float32", name="embedding_steps")(z)
            outputs["coarse_logits"] = CropLike(fine, dtype="float32", name="coarse_logits")(
                y, images
            )
            outputs["embedding"] = CropLike(fine, dtype="float32", name="embedding")(z, images)

        super().__init__(
            images,
            outputs,
            signals=signals,
            pyramid=pyramid,
            num_classes=num_classes,
            ignore_class=ignore_class,
            name=name,
        )
        self.backbone = encoder
        self.contrast_weight, self.contrast_warmup = contrast_weight, contrast_warmup
        self.cross_entropy = CrossEntropy(ignore_class=ignore_class, class_weights=class_weights)
        self._contrast: PixelContrast | None = None
        if contrast_weight:
            self._contrast = PixelContrast(
                ignore_class=ignore_class,
                temperature=temperature,
                max_samples=max_samples,
                max_views=max_views,
            )
            self.fine_stride = fine
            self.anchor_seed = keras.random.SeedGenerator(name="anchor_seed")

    @property
    def steps(self) -> keras.Variable:
        """Steps that it was trained for; there where the contrastive loss is."""
        return self.get_layer("embedding_steps").steps

    def loss_terms(self, y: Any, y_pred: Mapping[str, Any], sample_weight: Any = None) -> dict:
        """Cross-entropy of the logits, and the contrastive loss of the embedding after warm-up.

        Args:
            y: Integer masks (B, H, W).
            y_pred: Outputs of the model.
            sample_weight: Weights (B,) or (B, H, W) of the cross-entropy.

        Returns:
            `"cross_entropy"`, and `"contrast"` unless its weight is 0: float32 scalars, unweighted;
            `"contrast"` is 0 during the first `contrast_warmup` steps.
        """
        terms = {"cross_entropy": self.cross_entropy(y, y_pred["logits"], sample_weight)}
        if self._contrast is not None:
            y = ops.convert_to_tensor(y)
            value = self._contrast(
                # The label at the first pixel of each cell: the nearest neighbour of its corner.
                y[:, :: self.fine_stride, :: self.fine_stride],
                y_pred["embedding"],
                y_pred["coarse_logits"],
                seed=self.anchor_seed,
            )
            # Steps of the optimizer: several batches each where gradients are accumulated.
            optimizer = getattr(self, "optimizer", None)
            batches = getattr(optimizer, "gradient_accumulation_steps", None) or 1
            warm = self.steps >= batches * self.contrast_warmup
            terms["contrast"] = value * ops.cast(warm, "float32")
        return terms

    def count_step(self) -> None:
        """Counts the step, for the warm-up."""
        if self._contrast is not None:
            self.steps.assign_add(1)

    def loss_term_weights(self) -> dict[str, float]:
        """1 and `contrast_weight`."""
        weight = self.contrast_weight
        return {"cross_entropy": 1.0, **({"contrast": weight} if weight else {})}


def _context_module(
    context: str, filters: int, channel_attention: str, pooling: str
) -> ContextualRefinement:
    """CRM, or what it is where one of its choices is changed."""
    if (context, channel_attention, pooling) == ("channel_spatial", "affinity", "average"):
        return ContextualRefinement(filters, name="context")
    return ContextVariant(filters, context, channel_attention, pooling, name="context")


@keras.saving.register_keras_serializable(package="keras_focusseg")
class UnitVectors(keras.layers.Layer):
    """Divides the vectors (B, h, w, D) of a map by their length; those of length 0 stay 0.

    `keras.layers.UnitNormalization` (Keras 3.15) has a gradient of NaN at vectors of length 0,
    which a decoder gives wherever none of its channels is active.
    """

    def call(self, x: Any) -> Any:
        """Vectors of length 1, the gradient of one without direction 0."""
        square = ops.sum(ops.square(x), axis=-1, keepdims=True)
        directed = square > SHORTEST**2
        return x * ops.where(directed, ops.rsqrt(ops.where(directed, square, 1.0)), 0.0)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class StepCount(keras.layers.Layer):
    """Hands on what it is given, and holds the number of steps that the network was trained for.

    A weight of a layer in the graph, so that checkpoints hold it, JAX' trainer carries it and a
    clone of the network has it: the optimizer's own counter is not at hand inside a loss on JAX.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = self.add_weight(
            name="steps",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    def call(self, x: Any) -> Any:
        """The same."""
        return x
