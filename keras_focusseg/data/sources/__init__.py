"""What lies where on disk, as pairs of image and mask."""
