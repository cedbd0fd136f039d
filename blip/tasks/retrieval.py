"""Retrieval fine-tuning: ITC and ITM with the published retrieval rules, and so the filter of CapFilt."""

from blip.tasks.pretrain import ObjectiveConfig

# Published retrieval class: negatives from softmax(online x online) without the floor of
# pre-training; equal image ids are no negatives and share the ITC target; no LM.
RETRIEVAL = ObjectiveConfig(negatives="online", negative_floor=0.0, lm_weight=0.0)
