"""From images with instance masks to reasoning questions with ground truth, asked from a vision model.

Source: Wang and Ke, "LLM-Seg: Bridging Image Segmentation and Large Language Model Reasoning", CVPR Workshops 2024.
"""
