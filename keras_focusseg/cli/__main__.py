"""`python -m keras_focusseg.cli`."""

from keras_focusseg.cli.app import main

main()
