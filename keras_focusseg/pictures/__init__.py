"""Pictures from disk, read or refused with what is wrong; drawn shapes as pixels. Only Pillow."""
