"""In work."""
from dfcl_jax.errors import InputError
