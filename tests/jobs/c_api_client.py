"""Scores rows with a SavedModel through TensorFlow's C library, the loader that TensorFlow Serving
uses; no Python TensorFlow.

    python c_api_client.py '{"library": ..., "path": ..., "inputs": {name: [tensor, dtype]},
    "output": tensor}' < rows.json

where rows.json is {name: [value, ...]}, dtypes are string, int64 and float64, and a tensor is
`operation:index`. Prints the scores."""

import ctypes
import json
import sys

_FLOAT, _TYPES = (
    1,
    {"string": (7, 24), "int64": (9, 8), "float64": (2, 8)},
)  # TF_DataType and bytes per value; TF_TString has 24
_POINTER, _INT64P = ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64)


class Output(ctypes.Structure):
    """TF_Output."""

    _fields_ = [("operation", _POINTER), ("index", ctypes.c_int)]


class Client:
    """A session that holds a SavedModel."""

    def __init__(self, library: str, path: str):
        self._tf = ctypes.CDLL(library)
        pointers = (
            "NewStatus",
            "NewGraph",
            "NewSessionOptions",
            "LoadSessionFromSavedModel",
            "GraphOperationByName",
            "AllocateTensor",
        )
        for name in (*pointers, "TensorData"):
            getattr(self._tf, f"TF_{name}").restype = _POINTER
        self._tf.TF_Message.restype = ctypes.c_char_p
        self._tf.TF_Dim.restype = ctypes.c_int64
        self._status = _POINTER(self._tf.TF_NewStatus())
        self._graph = _POINTER(self._tf.TF_NewGraph())
        options = _POINTER(self._tf.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b"serve")
        self._session = _POINTER(
            self._tf.TF_LoadSessionFromSavedModel(
                options, None, path.encode(), tags, 1, self._graph, None, self._status
            )
        )
        self._check()

    def run(self, feeds: list[tuple[str, str, list]], output: str) -> list[float]:
        """Feeds (tensor, dtype, values) and returns a float32 vector."""
        inputs = (Output * len(feeds))(*(self._output(tensor) for tensor, _, _ in feeds))
        tensors = (_POINTER * len(feeds))(
            *(self._tensor(dtype, values) for _, dtype, values in feeds)
        )
        outputs = (Output * 1)(self._output(output))
        found = (_POINTER * 1)()
        self._tf.TF_SessionRun(
            self._session,
            None,
            inputs,
            tensors,
            len(feeds),
            outputs,
            found,
            1,
            None,
            0,
            None,
            self._status,
        )
        self._check()
        result = _POINTER(found[0])
        assert self._tf.TF_TensorType(result) == _FLOAT and self._tf.TF_NumDims(result) == 1
        size = self._tf.TF_Dim(result, 0)
        return list((ctypes.c_float * size).from_address(self._tf.TF_TensorData(result)))

    def _tensor(self, dtype: str, values: list) -> int:
        code, size = _TYPES[dtype]
        dims = (ctypes.c_int64 * 1)(len(values))
        tensor = self._tf.TF_AllocateTensor(
            code, ctypes.cast(dims, _INT64P), 1, ctypes.c_size_t(size * len(values))
        )
        start = self._tf.TF_TensorData(_POINTER(tensor))
        if dtype == "string":
            for k, value in enumerate(values):
                text, place = value.encode(), _POINTER(start + size * k)
                self._tf.TF_StringInit(place)
                self._tf.TF_StringCopy(place, text, ctypes.c_size_t(len(text)))
        else:
            kind = ctypes.c_int64 if dtype == "int64" else ctypes.c_double
            ctypes.memmove(start, (kind * len(values))(*values), size * len(values))
        return tensor

    def _output(self, tensor: str) -> Output:
        operation, index = tensor.split(":")
        found = self._tf.TF_GraphOperationByName(self._graph, operation.encode())
        assert found, f"no operation {operation}"
        return Output(found, int(index))

    def _check(self) -> None:
        if self._tf.TF_GetCode(self._status):
            raise RuntimeError(self._tf.TF_Message(self._status).decode())


if __name__ == "__main__":
    call = json.loads(sys.argv[1])
    rows = json.load(sys.stdin)
    client = Client(call["library"], call["path"])
    scores = client.run(
        [(tensor, dtype, rows[name]) for name, (tensor, dtype) in call["inputs"].items()],
        call["output"],
    )
    assert "tensorflow" not in sys.modules
    print(json.dumps(scores))
