"""`python -m keras_focusseg.cli`."""

from keras_focusseg.cli import main

main()
