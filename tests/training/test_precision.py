import pytest

from mlp_med.training.precision import cpu_has_bfloat16, default_precision


def cpuinfo(tmp_path, flags, vendor="GenuineIntel"):
    path = tmp_path / "cpuinfo"
    one = f"vendor_id\t: {vendor}\nflags\t\t: {flags}\n"
    path.write_text(f"processor\t: 0\n{one}\nprocessor\t: 1\n{one}")
    return path


@pytest.mark.parametrize(
    ("flags", "vendor", "width", "precision"),
    [
        ("fpu avx2 fma", "AuthenticAMD", 16, "float32"),
        ("fpu avx512f avx512_vnni", "AuthenticAMD", 16, "float32"),
        ("fpu avx512f avx512_bf16", "AuthenticAMD", 16, "mixed_bfloat16"),
        ("fpu avx512f avx512_bf16", "AuthenticAMD", 8, "float32"),
        ("fpu avx512f avx512_bf16", "GenuineIntel", 16, "float32"),
        ("fpu avx512f avx512_bf16", "", 16, "float32"),
        ("fpu avx512_bf16 amx_bf16 amx_tile", "GenuineIntel", 32, "mixed_bfloat16"),
        ("fpu avx512_bf16 amx_bf16 amx_tile", "GenuineIntel", 8, "float32"),
    ],
)
def test_a_cpu_that_multiplies_bfloat16_uses_it_where_it_pays(
    tmp_path, monkeypatch, flags, vendor, width, precision
):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    assert default_precision(width, cpuinfo(tmp_path, flags, vendor)) == precision


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
