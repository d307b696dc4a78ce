"""What tests/conftest.py promises to every test that uses TensorFlow."""

import tensorflow as tf
import tf_keras


def test_tensorflow_loads_with_two_logical_devices_and_keras_2():
    assert [device.device_type for device in tf.config.list_logical_devices()] == ["CPU", "CPU"]
    assert tf.keras.layers.Layer is tf_keras.layers.Layer
