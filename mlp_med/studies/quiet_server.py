"""Imported first by the fork server: the terminal is its parent's.

Python lets a fork server ignore Ctrl-C only once it has imported what it is told to, which takes
seconds. What is forked from it begins as it is.
"""

import logging
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.getLogger("absl").setLevel(logging.ERROR)  # through it TensorFlow and TFDS speak
