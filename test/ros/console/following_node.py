"""The real node with scripted models that also track their targets."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import scripted_node

from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.ros.node import main
from reasonseg_ros.segmenter.scripted import ScriptedTracker

if __name__ == "__main__":
    sys.exit(main(sys.argv, lambda settings, report: RevSeg(scripted_node.load(settings, report), ScriptedTracker)))
