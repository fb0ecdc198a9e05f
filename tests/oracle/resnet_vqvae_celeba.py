"""graphs/resnet_vqvae_celeba.yaml in PyTorch."""
from resnet_vqvae_fashion import Model, of_image, table

FILE = "graphs/resnet_vqvae_celeba.yaml"
GRAPH = "autoencode"
SET = []
INPUTS = {"image": {"shape": [2, 64, 64, 3], "range": [-1, 1]}}


def build():
    return Model(3, [16, 32, 64], 256, None)


def names():
    return table(2)


def loss(model, inputs):
    return of_image(model, inputs, 1.5)
