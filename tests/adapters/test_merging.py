import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from made import adapter_for, forward, network
from safetensors.torch import load_file

from cinetune.adapters import lora, merging
from cinetune.adapters.form import Adapter, Layer
from cinetune.adapters.merging import merge, merge_into, unmerge
from cinetune.adapters.reading import EXPERT_FILES, EXPERTS, read_adapter
from cinetune.adapters.writing import write_adapter
from cinetune.errors import RunError, WeightsError
from cinetune.models._wan import CROSS_ATTENTION, WanModel


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer folder in several shards, bf16 but for what diffusers keeps in fp32."""
    folder = tmp_path_factory.mktemp("base") / "transformer"
    network().to(torch.bfloat16).save_pretrained(folder, max_shard_size="3MB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_merged_is_the_adapted_network(tmp_path: Path) -> None:
    net = network()
    lora.inject(net, CROSS_ATTENTION, rank=4, alpha=6.0, seed=0)
    for name, weight in net.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)) * 0.1
    lora.save(tmp_path / "a.safetensors", net)
    plain = network()
    merge_into(plain, read_adapter(tmp_path / "a.safetensors"))
    assert torch.allclose(forward(plain), forward(net), atol=1e-5)
    assert (forward(plain) - forward(network())).abs().max() > 1e-2


def test_unmerge_gives_every_bit_back_however_often() -> None:
    net = network().to(torch.bfloat16)
    before = {name: w.clone() for name, w in net.named_parameters()}
    for _ in range(5):
        kept = merge_into(net, adapter_for("all-linear"))
        assert not torch.equal(
            dict(net.named_parameters())["blocks.0.ffn.net.2.weight"], before["blocks.0.ffn.net.2.weight"]
        )
        unmerge(net, kept)
    assert all(torch.equal(w, before[name]) for name, w in net.named_parameters())


def test_a_folder_in_shards(tmp_path: Path, transformer: Path) -> None:
    adapter = adapter_for("all-linear", ranks=(4, 3), alphas=(6.0,))
    write_adapter(tmp_path / "a.safetensors", adapter, "kohya")
    before = contents(transformer)
    merge(transformer, tmp_path / "a.safetensors", tmp_path / "out")
    assert contents(transformer) == before, "the base is only read"
    after = contents(tmp_path / "out")
    assert set(after) == set(before)
    assert [len(after[name]) for name in before] == [len(content) for content in before.values()]
    index = "diffusion_pytorch_model.safetensors.index.json"
    assert after[index] == before[index]
    touched = set()
    for file in transformer.glob("*.safetensors"):
        old, new = load_file(file), load_file(tmp_path / "out" / file.name)
        assert {k: json.loads(before[index])["weight_map"][k] for k in new} == dict.fromkeys(new, file.name)
        for key, weight in old.items():
            layer = adapter.layers.get(key.removesuffix(".weight"))
            wanted = weight
            if layer:
                touched.add(key)
                wanted = (weight.double() + layer.scale * layer.b.double() @ layer.a.double()).to(weight.dtype)
                # one rounding to bf16 of a sum in fp32, so at most the last bit can differ from one in fp64
                assert torch.allclose(new[key].double(), wanted.double(), rtol=2**-7, atol=1e-6)
                assert (new[key] == wanted).float().mean() > 0.999
                assert not torch.equal(new[key], weight)
            else:
                assert torch.equal(new[key], weight)
            assert new[key].dtype == weight.dtype
    assert touched == {f"{name}.weight" for name in adapter.layers}
    both = [
        WanTransformer3DModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
        for folder in (transformer, tmp_path / "out")
    ]
    merge_into(both[0], adapter)
    assert (forward(both[0]) - forward(both[1])).abs().max() < 0.05 * (forward(both[0])).abs().max()


def test_a_whole_model(tmp_path: Path, tiny: WanModel) -> None:
    adapter = adapter_for(alphas=(64.0,))
    write_adapter(tmp_path / "a.safetensors", adapter, "wan")
    merge(Path(tiny.source), tmp_path / "a.safetensors", tmp_path / "out")
    before, after = contents(Path(tiny.source)), contents(tmp_path / "out")
    assert [name for name in before if before[name] != after[name]] == [
        "transformer/diffusion_pytorch_model.safetensors"
    ]
    wanted = tiny.load_transformer(torch.device("cpu"), torch.float32)
    merge_into(wanted, adapter)
    made = WanModel(name="out", source=str(tmp_path / "out")).load_transformer(torch.device("cpu"), torch.float32)
    stored = load_file(tmp_path / "out" / "transformer" / "diffusion_pytorch_model.safetensors")
    for name, weight in wanted.state_dict().items():
        got = made.state_dict()[name]
        assert torch.equal(got, weight.to(stored[name].dtype).float())


def test_refusals_leave_nothing_behind(tmp_path: Path, transformer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.safetensors"
    write_adapter(file, adapter_for(), "wan")
    out = tmp_path / "out"
    narrow = {n: Layer(layer.a[:, :100].clone(), layer.b, layer.alpha) for n, layer in adapter_for().layers.items()}
    write_adapter(tmp_path / "narrow.safetensors", Adapter(narrow, "wan"), "wan")
    deep = {n.replace("blocks.5", "blocks.39"): layer for n, layer in adapter_for().layers.items()}
    write_adapter(tmp_path / "deep.safetensors", Adapter(deep, "wan"), "wan")
    with pytest.raises(
        WeightsError, match=r"another network: the weight of .* is \[192, 100\] there, \[192, 192\] here"
    ):
        merge(transformer, tmp_path / "narrow.safetensors", out)
    with pytest.raises(WeightsError, match=r"another network: no layer blocks\.39\..* and 3 more"):
        merge(transformer, tmp_path / "deep.safetensors", out)
    with pytest.raises(WeightsError, match=r"no config\.json"):
        merge(transformer.parent, file, out)
    with pytest.raises(RunError, match="lies in the base model"):
        merge(transformer, file, transformer / "out")
    torn = tmp_path / "torn"
    shutil.copytree(transformer, torn)
    shard = sorted(torn.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        merge(torn, file, out)
    shard.unlink()
    with pytest.raises(WeightsError, match="missing; download the model again"):
        merge(torn, file, out)
    monkeypatch.setattr(merging, "SPARE", 2**60)
    with pytest.raises(RunError, match=r"not enough disk space: .* GiB needed"):
        merge(transformer, file, out)
    monkeypatch.undo()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith((".", "out"))]
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(RunError, match="is there already"):
        merge(transformer, file, out)
    assert [p.name for p in out.iterdir()] == ["mine"]


def test_another_network_in_memory_is_left_as_it_was() -> None:
    net = network()
    before = {name: w.clone() for name, w in net.named_parameters()}
    layers = {**adapter_for().layers, "blocks.9.attn2.to_q": next(iter(adapter_for().layers.values()))}
    with pytest.raises(WeightsError, match=r"no layer blocks\.9\.attn2\.to_q"):
        merge_into(net, Adapter(layers, "wan"))
    assert all(torch.equal(w, before[name]) for name, w in net.named_parameters())


def test_a_quantised_base_is_refused(tmp_path: Path, transformer: Path) -> None:
    from safetensors.torch import save_file

    folder = tmp_path / "fp8"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    adapter = adapter_for()
    save_file(
        {f"{n}.weight": torch.zeros(192, 192).to(torch.float8_e4m3fn) for n in adapter.layers}, folder / "w.safetensors"
    )
    write_adapter(tmp_path / "a.safetensors", adapter, "wan")
    with pytest.raises(WeightsError, match="is F8_E4M3; merge into F32, F16, BF16 weights"):
        merge(folder, tmp_path / "a.safetensors", tmp_path / "out")


def test_both_experts_are_merged_each_with_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, run = tmp_path / "base", tmp_path / "run"
    adapters = {"high": adapter_for(), "low": adapter_for(alphas=(2.0,))}
    (base / "vae").mkdir(parents=True)
    (base / "model_index.json").write_text("{}")
    for expert, part in EXPERTS.items():
        network().save_pretrained(base / part)
        write_adapter(run / EXPERT_FILES[expert], adapters[expert], "diffusers")
    merge(base, run, tmp_path / "both")
    merge(base, run / EXPERT_FILES["high"], tmp_path / "high")
    assert "no adapter for the low noise expert; transformer_2 is copied as it is" in capsys.readouterr().err
    for expert, part in EXPERTS.items():
        merge(base / part, run / EXPERT_FILES[expert], tmp_path / "alone" / part)
        assert contents(tmp_path / "both" / part) == contents(tmp_path / "alone" / part) != contents(base / part)
    assert contents(tmp_path / "high/transformer") == contents(tmp_path / "both/transformer")
    assert contents(tmp_path / "high/transformer_2") == contents(base / "transformer_2")

    write_adapter(tmp_path / "style.safetensors", adapters["high"], "wan")
    with pytest.raises(WeightsError, match=r"two experts and the name does not end in _high_noise\.safetensors or"):
        merge(base, tmp_path / "style.safetensors", tmp_path / "out")
    shutil.rmtree(base / "transformer_2")
    with pytest.raises(WeightsError, match="has one network and this is for one expert of two"):
        merge(base, run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
