"""The same of grey pictures."""
import vqvae_transformer as colour

FILE, GRAPH, SET = colour.FILE, colour.GRAPH, []
INPUTS = {"image": {"shape": [2, 32, 32, 1], "range": [0, 1]}}
names, state, loss = colour.names, colour.state, colour.loss


def build():
    return colour.Model(1)
