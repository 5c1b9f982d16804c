"""The node image as a disk that servers boot: virtual machines and metal, with BIOS or UEFI.

1  bios   GRUB for BIOS
2  esp    GRUB for UEFI
3  boot   GRUB's configuration and counters, and the slots: kernel, initial RAM disk, root and modules of an image
4  state  /var, and changes of /etc; grows to the disk's end
"""
