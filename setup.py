"""Package metadata. Tested upper bounds of the ranges below: constraints.txt."""

from setuptools import find_packages, setup

setup(
    name="irazor-tf",
    version="0.1.0",
    description="Field selection and embedding dimension search for recommendation models in "
    "TensorFlow: i-Razor and its neighbours",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(
        include=[
            "irazor_tf",
            "irazor_tf.*",
            "data_pipelines",
            "data_pipelines.*",
            "launch",
            "launch.*",
        ]
    ),
    package_data={
        "irazor_tf": ["py.typed"],  # type checkers read the annotations of an installed copy, too
        "data_pipelines": ["py.typed"],
        "launch": ["presets/*.flags", "presets/*.yaml"],
    },
    install_requires=[
        "tensorflow>=2.20,<2.22",
        "tf-keras>=2.20,<2.22",
        "tensorflow-recommenders>=0.7.7,<0.8",
        "tensorflow-datasets>=4.9.9,<5",
        "tensorboard>=2.20,<2.22",
        "numpy>=2.2,<3",
        "pandas>=2.2,<4",
        "absl-py>=2.1,<3",
        "pyarrow>=18,<27",
        "scikit-learn>=1.5,<2",
        "scipy>=1.13,<2",
        "threadpoolctl>=3.5,<4",
        "matplotlib>=3.9,<4",
        "PyYAML>=6,<7",
        "tqdm>=4.66,<5",
        "filelock>=3.16,<5",
    ],
    extras_require={
        "beam": ["apache-beam>=2.66,<3"],
        "serving": ["tensorflow-serving-api>=2.19,<2.22"],
        "gpu": ["tensorflow[and-cuda]>=2.20,<2.22"],
        "test": [
            "pytest>=8.3,<10",
            "pytest-xdist>=3.6,<4",
            "ruff>=0.12,<1",
            "mypy>=1.15,<3",
            "types-PyYAML",
            "types-tqdm",
            "wrapt>=1.14",
        ],
    },
    entry_points={"console_scripts": ["irazor = launch.main:main"]},
)
