"""Recipes and what runs them."""

from keras_focusseg.optimizers import WarmupCosine, WarmupPoly, WarmupStep
from keras_focusseg.training.average import average
from keras_focusseg.training.callbacks import StopOnNaN, TrainingDiverged, ValidateAverages
from keras_focusseg.training.distribution import Distribution, distribution
from keras_focusseg.training.dry_run import dry_run
from keras_focusseg.training.fit import build_model, make_optimizer, train
from keras_focusseg.training.overrides import override
from keras_focusseg.training.recipe import Recipe, load_recipe
from keras_focusseg.training.recipe_headers import RecipeHeader, recipe_header, recipe_headers
from keras_focusseg.training.report import Report
from keras_focusseg.training.run_folder import RunFolder
from keras_focusseg.training.runs import Run, find_runs
from keras_focusseg.training.stopping import TrainingStopped
from keras_focusseg.training.watchdog import Watchdog

__all__ = [
    "Distribution",
    "Recipe",
    "RecipeHeader",
    "Report",
    "Run",
    "RunFolder",
    "StopOnNaN",
    "TrainingDiverged",
    "TrainingStopped",
    "ValidateAverages",
    "WarmupCosine",
    "WarmupPoly",
    "WarmupStep",
    "Watchdog",
    "average",
    "build_model",
    "distribution",
    "dry_run",
    "find_runs",
    "load_recipe",
    "make_optimizer",
    "override",
    "recipe_header",
    "recipe_headers",
    "train",
]
