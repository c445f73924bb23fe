import torch

from gkd_lightning.data import ProxyDataModule
from tests.segment.fake import sample


class NoImages:
    def __len__(self) -> int:
        return 4


def test_keys_stay_on_the_host() -> None:
    data = ProxyDataModule(NoImages(), image_size=32, batch_size=4)  # type: ignore[arg-type]
    item = sample(3)
    batch = {"image": item["image"][None], "key": torch.tensor([item["key"]])}
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved["image"].device.type == "meta"
    assert moved["key"].tolist() == [item["key"]]
    assert set(batch) == {"image", "key"}
