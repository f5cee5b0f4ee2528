"""The data engine: a vision model writes reasoning questions, with ground truth, about images with instance masks.

Source: Wang and Ke, "LLM-Seg: Bridging Image Segmentation and Large Language Model Reasoning", CVPR Workshops 2024.
"""
