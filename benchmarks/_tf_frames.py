"""FID and KID on frames as torch-fidelity resizes them, so that its numbers and ours can be compared."""

from dataclasses import replace

from cinetune.metrics import _frame_set, fid, kid

LOOK = replace(_frame_set.LOOK, name="kid_tf", backbone="frames_tf")
FID = replace(fid.METRIC, name="fid_tf", look=LOOK)
KID = replace(kid.METRIC, name="kid_tf", look=LOOK)
