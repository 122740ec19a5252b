"""Loads a model in tflite-runtime and reads faces; run as a script by a Python that has nothing else of Mien.

Arguments: a .tflite file, and a .npy file with one input an entry. Prints one line of JSON.
"""

import json
import sys
from importlib.metadata import version


def main(model: str, faces: str) -> None:
    """Prints {"runtime", "error", "labels"}."""
    import numpy as np
    from tflite_runtime.interpreter import Interpreter

    labels, problem = [], ""
    try:
        interpreter = Interpreter(model_path=model, num_threads=1)
        interpreter.allocate_tensors()
        source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        for face in np.load(faces):
            interpreter.set_tensor(source, face[np.newaxis])
            interpreter.invoke()
            labels.append(int(interpreter.get_tensor(target)[0].argmax()))
    except (ValueError, RuntimeError) as error:
        problem = " ".join(str(error).split())
    print(json.dumps({"runtime": f"tflite-runtime {version('tflite-runtime')}", "error": problem, "labels": labels}))


if __name__ == "__main__":
    main(*sys.argv[1:])
