"""FoR-Net: learning to focus on hard regions (arXiv 2605.02764).

A selector scores every cell of a stride-8 feature map, the Top-K cells pass through branches of
several kernel sizes, and a decoder joins the result with low-level features. Architecture and loss
follow the model that the authors released; the equations are numbered as there. What this library
adds is marked "ours": the pyramid neck and every backbone but ResNet-101.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_focusseg import backbones
from keras_focusseg.layers import (
    Add,
    ConvNormAct,
    RankedCells,
    ResizeLike,
    SelectedConvNormAct,
    StraightThroughMask,
    TopKMasks,
    conv2d,
)
from keras_focusseg.losses import BoundaryTargetBCE, CrossEntropy, Dice
from keras_focusseg.models.panels import Drawing, Panel
from keras_focusseg.models.predictors import parts_of
from keras_focusseg.models.segmenter import Segmenter

PANELS = (
    Panel(
        "Importance",
        "is the selector's score, dark 0 to light 1: it was taught to find class boundaries.",
        (Drawing("heatmap", "importance", "importance"),),
    ),
    Panel(
        "Regions",
        "are the cells that the branches look at again: the lightest go to every branch, the dark "
        "violet ones to the last branch alone, grey ones to none.",
        (Drawing("regions", "masks", "regions"),),
    ),
)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class FoRNet(Segmenter):
    """FoR-Net, a segmentation network that looks again where its selector finds it hard.

    With the defaults and 19 classes it is the authors' released model: 50,168,948 trainable
    parameters. `model(images)` returns, for RGB images (B, H, W, 3) in 0..255,

    - `"logits"` (B, H, W, num_classes), float32,
    - `"selector_logits"` z (B, h, w, 1), float32, with h = ceil(H / 8) at output stride 8,
    - `"masks"` (B, h, w, branches), the Top-K masks, zeros and ones.

    The selected share is one of whatever map is given, at training and at inference alike; a crop
    and a whole image therefore choose among different cells. Masking is a multiplication: the
    branches compute every cell, unless `sparse_inference` is called.

    Args:
        num_classes: Number of classes.
        backbone: A name of `backbones.names()`, or a Keras model with outputs "P2" ... "P5".
        backbone_weights: `None`, `"imagenet"` or a checkpoint, see `backbones.build`.
        output_stride: Stride of the backbone's last stage (8 in the paper).
        neck: `None` to take the features from the last stage alone, as the authors do; `"fpn"` to
            add the last three stages top-down at stride 8 (ours: lets a backbone keep output
            stride 16 or 32).
        filters: Channels of the features and the branches.
        selector_filters: Channels inside the selector; half of `filters` by default.
        context_filters: Channels inside the global context; a quarter of `filters` by default, 0
            leaves the context out.
        low_level_filters: Channels of the projected stride-4 features.
        decoder_filters: Channels of the decoder; as `filters` by default.
        kernel_sizes: Kernel side of each branch.
        dilation_rates: Dilation of each branch.
        ratios: Share of the cells that each branch sees, in (0, 1]. All 1.0 switches the selection
            off.
        dice_weight: Weight of the Dice term, lambda 1 of Eq. (8).
        selector_weight: Weight of the selector's term, lambda 2 of Eq. (8).
        boundary_band: Cells around a class boundary that the selector is taught to find.
        boundary_decay: Target value lost with each such cell.
        class_weights: Weight of each class in the cross-entropy (ours); all 1 by default.
        ignore_class: Mask value that is not counted.
        backbone_options: Further arguments of a named backbone, such as `{"alpha": 0.5}` or
            `{"drop_path_rate": 0.1}`.
        dtype: Dtype policy of the layers or its name, such as `"mixed_bfloat16"`; the one in
            force by default. A backbone that is given as a model keeps its own.
        name: Name of the model.

    Raises:
        ValueError: The branch arguments differ in length, `neck` is unknown, or the backbone has
            no pyramid.

    Example:
        ```python
        from keras_focusseg import models

        model = models.FoRNet(num_classes=11, backbone="resnet18", filters=64)
        model.compile()    # cross-entropy + Dice + selector loss, AdamW, mean IoU
        outputs = model.predict(images)    # uint8 or float images (B, H, W, 3)
        ```
    """

    panels = PANELS

    def __init__(
        self,
        num_classes: int = 19,
        backbone: str | keras.Model = "resnet101",
        backbone_weights: str | None = None,
        output_stride: int = 8,
        neck: str | None = None,
        filters: int = 256,
        selector_filters: int | None = None,
        context_filters: int | None = None,
        low_level_filters: int = 48,
        decoder_filters: int | None = None,
        kernel_sizes: Sequence[int] = (1, 3, 5, 7),
        dilation_rates: Sequence[int] = (1, 1, 1, 16),
        ratios: Sequence[float] = (0.10, 0.20, 0.30, 0.40),
        dice_weight: float = 1.0,
        selector_weight: float = 0.5,
        boundary_band: int = 2,
        boundary_decay: float = 0.5,
        class_weights: Sequence[float] | None = None,
        ignore_class: int | None = 255,
        backbone_options: Mapping[str, Any] | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        name: str = "fornet",
    ) -> None:
        if not len(kernel_sizes) == len(dilation_rates) == len(ratios):
            raise ValueError(
                "Each branch needs a kernel size, a dilation rate and a ratio; got "
                f"kernel_sizes={tuple(kernel_sizes)}, dilation_rates={tuple(dilation_rates)}, "
                f"ratios={tuple(ratios)}."
            )
        if neck not in (None, "fpn"):
            raise ValueError(f"neck must be None or 'fpn', got {neck!r}.")
        selector_filters = filters // 2 if selector_filters is None else selector_filters
        context_filters = filters // 4 if context_filters is None else context_filters
        decoder_filters = filters if decoder_filters is None else decoder_filters
        encoder = backbones.as_pyramid(
            backbone, backbone_weights, backbone_options, output_stride=output_stride
        )

        images = keras.Input((None, None, 3), name="images")  # (B, H, W, 3)
        pyramid = encoder(images)
        if neck is None:
            f = ConvNormAct(filters, name="transition")(pyramid["P5"])  # F, (B, h, w, C)
        else:
            f = _top_down(pyramid, filters)
        z = _selector(f, selector_filters)  # Eq. (1), (B, h, w, 1)
        masks = self.choose_cells(z, ratios)  # Eq. (2), (B, h, w, R)
        f_context = _global_context(f, context_filters) if context_filters else f  # Eq. (4)

        stride = backbones.pyramid_stride(encoder, "P3" if neck else "P5")
        regions = []
        for i, (kernel, rate) in enumerate(zip(kernel_sizes, dilation_rates, strict=True)):
            chosen = StraightThroughMask(i, name=f"branch{i}_mask")(f_context, masks, z)
            regions.append(  # R_i = C_i(F_ctx * m_i), Eq. (5)
                ConvNormAct(filters, kernel, rate, name=f"branch{i}")(chosen)
            )
        f_sum = Add(name="aggregate")([f, *regions])  # Eq. (6), (B, h, w, C)

        low = ConvNormAct(low_level_filters, name="low_level")(pyramid["P2"])  # (B, H/4, W/4, L)
        y = ResizeLike(name="decoder_resize")(f_sum, low)  # (B, H/4, W/4, C)
        y = keras.layers.Concatenate(name="decoder_concat")([y, low])
        y = ConvNormAct(decoder_filters, 3, name="decoder0")(y)
        y = ConvNormAct(decoder_filters, 3, name="decoder1")(y)  # Eq. (7), (B, H/4, W/4, D)
        y = conv2d(num_classes, name="classifier")(y)
        logits = ResizeLike(dtype="float32", name="logits")(y, images)  # (B, H, W, classes)

        super().__init__(
            images,
            {"logits": logits, "selector_logits": z, "masks": masks},
            signals={
                "importance": keras.layers.Activation("sigmoid", dtype="float32", name="score")(z),
                "features": f,
                "context_features": f_context,
                **{f"region{i}": region for i, region in enumerate(regions)},
                "aggregated": f_sum,
                "decoded": y,
            },
            pyramid=pyramid,
            num_classes=num_classes,
            ignore_class=ignore_class,
            name=name,
        )
        self.backbone = encoder
        self.cross_entropy = CrossEntropy(ignore_class=ignore_class, class_weights=class_weights)
        self._terms: dict[str, Any] = {
            "dice": Dice(ignore_class=ignore_class),
            "selector": BoundaryTargetBCE(
                num_classes,
                stride=stride,
                ignore_class=ignore_class,
                band=boundary_band,
                decay=boundary_decay,
            ),
        }
        self._term_weights = {
            "cross_entropy": 1.0,
            "dice": dice_weight,
            "selector": selector_weight,
        }

    @staticmethod
    def choose_cells(z: keras.KerasTensor, ratios: Sequence[float]) -> keras.KerasTensor:
        """The cells that each branch sees, Eq. (2); a subclass may choose others.

        Args:
            z: Score logits (B, h, w, 1).
            ratios: Share of the cells, of each branch.

        Returns:
            Masks (B, h, w, branches) of zeros and ones.
        """
        return TopKMasks(ratios, name="top_k")(z)

    def loss_terms(self, y: Any, y_pred: Mapping[str, Any], sample_weight: Any = None) -> dict:
        """Eq. (8): cross-entropy, Dice, and the selector's loss against class boundaries.

        Args:
            y: Integer masks (B, H, W).
            y_pred: Outputs of the model.
            sample_weight: Weights (B,) or (B, H, W) of the first two terms.

        Returns:
            The terms whose weight is not zero, unweighted, as float32 scalars.
        """
        of_logits = {"cross_entropy", "dice"}
        return {
            name: loss(y, y_pred["logits"], sample_weight)
            if name in of_logits
            else loss(y, y_pred["selector_logits"])
            for name, loss in {"cross_entropy": self.cross_entropy, **self._terms}.items()
            if self._term_weights[name]
        }

    def sparse_inference(self, sparse: bool = True) -> None:
        """Lets the branches compute the chosen cells alone, wherever the network is used.

        `predict`, `predict_labels`, `segment`, `evaluate` and `export` then use the same weights in
        another form, whose products fall with the ratios and whose logits are the same up to
        rounding. Whether it is faster depends on backend and size: docs/networks/fornet.md has the
        table. Training and `model(images)` stay as they are.

        Args:
            sparse: `False` goes back.

        Raises:
            ValueError: A subclass chooses other cells than those of the highest scores.

        Example:
            ```python
            model.sparse_inference()
            labels = model.predict_labels(images)["labels"]
            ```
        """
        inputs, logits = self.input, self.output["logits"]
        if sparse and type(self).choose_cells is not FoRNet.choose_cells:
            raise ValueError(
                f"{type(self).__name__} chooses its cells itself, and the form of the chosen cells "
                "alone takes those of the highest scores: leave it dense."
            )
        if sparse:
            inputs, logits = _with_chosen_cells(inputs, logits, self.get_layer("top_k").ratios)
        vars(self._plain).update(parts_of(inputs, logits, self.name))

    def loss_term_weights(self) -> dict[str, float]:
        """1, `dice_weight`, `selector_weight`."""
        return dict(self._term_weights)


def _with_chosen_cells(
    inputs: keras.KerasTensor, logits: keras.KerasTensor, ratios: Sequence[float]
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The graph of the logits on the same layers, its branches on the chosen cells alone."""
    masks = {f"branch{i}_mask" for i in range(len(ratios))}
    shares = {f"branch{i}": ratio for i, ratio in enumerate(ratios)}
    cells: list[keras.KerasTensor] = []

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if operation.name in masks:
            f_context, _, z = args
            if not cells:  # one ranking serves all branches
                cells.append(RankedCells(name="ranked_cells")(z))
            return f_context
        if operation.name in shares:
            selected = SelectedConvNormAct(
                operation, shares[operation.name], name=f"{operation.name}_selected"
            )
            return selected(args[0], cells[0])
        return operation(*args, **kwargs)

    graph = keras.models.clone_model(
        keras.Model(inputs, logits), clone_function=lambda layer: layer, call_function=call
    )
    return graph.input, graph.output


def _selector(f: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """z = phi(F), Eq. (1): the importance of each cell is sigmoid(z)."""
    z = ConvNormAct(filters, 3, name="selector")(f)
    return conv2d(1, name="selector_logits", dtype="float32")(z)  # (B, h, w, 1)


def _global_context(f: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """F_ctx = F + psi(GAP(F)), Eq. (4)."""
    channels = f.shape[-1]
    pool = keras.layers.GlobalAveragePooling2D("channels_last", keepdims=True, name="context_pool")
    c = pool(f)  # (B, 1, 1, C)
    c = conv2d(filters, name="context_squeeze", activation="relu")(c)
    c = conv2d(channels, name="context_expand")(c)
    return Add(name="context_add")([f, c])  # (B, h, w, C)


def _top_down(pyramid: Mapping[str, keras.KerasTensor], filters: int) -> keras.KerasTensor:
    """Ours: the last three stages added from coarse to fine, then a 3x3 convolution."""
    f = ConvNormAct(filters, name="neck_p5")(pyramid["P5"])
    for level in ("P4", "P3"):
        lateral = ConvNormAct(filters, name=f"neck_{level.lower()}")(pyramid[level])
        f = ResizeLike(name=f"neck_{level.lower()}_resize")(f, lateral)
        f = Add(name=f"neck_{level.lower()}_add")([lateral, f])
    return ConvNormAct(filters, 3, name="transition")(f)  # F, (B, h, w, C)
