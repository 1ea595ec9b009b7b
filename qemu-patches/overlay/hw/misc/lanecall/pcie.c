/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the engine adds to the device's configuration space: on an express bus
 * the capabilities of a PCIe endpoint with power management, function-level
 * reset, advanced error reporting and address translation services; elsewhere
 * nothing. Addresses are translated anew for every access, so a change of the
 * ATS enable bit needs no action.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_aer.h"
#include "engine.h"

#define AER_OFFSET PCI_CONFIG_SPACE_SIZE
#define ATS_OFFSET (AER_OFFSET + PCI_ERR_SIZEOF)

static bool init_power_management(PCIDevice *pdev, Error **errp)
{
    int pos = pci_add_capability(pdev, PCI_CAP_ID_PM, 0, PCI_PM_SIZEOF, errp);

    if (pos < 0) {
        return false;
    }
    pdev->exp.pm_cap = pos;
    pci_set_word(pdev->config + pos + PCI_PM_PMC, 0x3); /* version 1.2 */
    pci_set_word(pdev->config + pos + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET);
    pci_set_word(pdev->wmask + pos + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
    return true;
}

bool lanecall_pcie_init(PCIDevice *pdev, Error **errp)
{
    if (!pci_bus_is_express(pci_get_bus(pdev))) {
        pdev->cap_present &= ~QEMU_PCI_CAP_EXPRESS;
        return true;
    }
    if (pcie_endpoint_cap_init(pdev, 0) < 0) {
        error_setg(errp, "no room for the PCI Express capability");
        return false;
    }
    if (!init_power_management(pdev, errp)) {
        goto fail_pm;
    }
    if (pcie_aer_init(pdev, PCI_ERR_VER, AER_OFFSET, PCI_ERR_SIZEOF, errp)) {
        goto fail_aer;
    }
    pcie_cap_deverr_init(pdev);
    pcie_cap_lnkctl_init(pdev);
    pcie_cap_flr_init(pdev);
    pcie_ats_init(pdev, ATS_OFFSET, true);
    return true;

fail_aer:
    pci_del_capability(pdev, PCI_CAP_ID_PM, PCI_PM_SIZEOF);
fail_pm:
    pcie_cap_exit(pdev);
    return false;
}

void lanecall_pcie_exit(PCIDevice *pdev)
{
    if (pci_is_express(pdev)) {
        pcie_aer_exit(pdev);
        pci_del_capability(pdev, PCI_CAP_ID_PM, PCI_PM_SIZEOF);
        pcie_cap_exit(pdev);
    }
}

void lanecall_pcie_reset(PCIDevice *pdev)
{
    if (pci_is_express(pdev)) {
        pcie_cap_deverr_reset(pdev);
        pcie_cap_lnkctl_reset(pdev);
        pci_set_word(pdev->config + pdev->exp.pm_cap + PCI_PM_CTRL,
                     PCI_PM_CTRL_NO_SOFT_RESET);
        pci_set_word(pdev->config + pdev->exp.ats_cap + PCI_ATS_CTRL, 0);
    }
}

void lanecall_pcie_write_config(PCIDevice *pdev, uint32_t address,
                                uint32_t value, int len)
{
    if (pci_is_express(pdev)) {
        pcie_aer_write_config(pdev, address, value, len);
        pcie_cap_flr_write_config(pdev, address, value, len);
    }
}
