"""Generalizable Knowledge Distillation (GKD) from vision foundation models, on PyTorch Lightning.

Method: "Generalizable Knowledge Distillation from Vision Foundation Models for Semantic Segmentation",
CVPR 2026, arXiv 2603.02554. The rooms of the house, top to bottom: ``cli``, ``inspection``, ``chain``, ``baselines``,
``deploy``, ``segment`` and ``distill``, ``report``, ``evaluate``, ``recipes``, ``data``, ``encoders``. Nothing imports
upwards.
"""

__version__ = "0.1.0"
