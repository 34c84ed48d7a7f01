import pytest

from mlp_med.training.precision import cpu_has_bfloat16, default_precision


def cpuinfo(tmp_path, flags):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: {flags}\n")
    return path


@pytest.mark.parametrize(
    ("flags", "width", "precision"),
    [
        ("fpu avx2 fma", 16, "float32"),
        ("fpu avx512f avx512_vnni", 16, "float32"),
        ("fpu avx512f avx512_bf16", 16, "mixed_bfloat16"),
        ("fpu amx_bf16 amx_tile", 32, "mixed_bfloat16"),
        ("fpu amx_bf16 amx_tile", 8, "float32"),
    ],
)
def test_a_cpu_that_multiplies_bfloat16_uses_it_where_it_pays(
    tmp_path, monkeypatch, flags, width, precision
):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    assert default_precision(width, cpuinfo(tmp_path, flags)) == precision


@pytest.mark.parametrize(
    ("details", "precision"),
    [
        ({"compute_capability": (9, 0)}, "mixed_bfloat16"),
        ({"compute_capability": (7, 5)}, "float32"),
        ({}, "float32"),
    ],
)
def test_a_gpu_decides_where_there_is_one(tmp_path, monkeypatch, details, precision):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a GPU"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert default_precision(8, cpuinfo(tmp_path, "amx_bf16")) == precision


def test_where_nothing_describes_the_cpu_it_has_no_bfloat16(tmp_path):
    assert not cpu_has_bfloat16(tmp_path / "absent")
