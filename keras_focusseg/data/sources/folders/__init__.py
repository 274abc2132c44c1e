"""People's own folders of images and masks: where they lie, how masks code classes."""
