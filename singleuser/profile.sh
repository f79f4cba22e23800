# shellcheck shell=sh
# In a login shell, such as a terminal of JupyterLab, Debian's /etc/profile has replaced the container's PATH. This script
# restores the PATH with which the shell was started.
dockyard_path=$(tr '\0' '\n' <"/proc/$$/environ" 2>/dev/null | sed -n 's/^PATH=//p')
case ":$dockyard_path:" in
  *:/opt/notebook/bin:*) PATH=$dockyard_path ;;
  # After `su -`, for example, which does not keep the PATH.
  *) PATH=/opt/notebook/bin:$PATH:/home/jovyan/.local/bin ;;
esac
export PATH
unset dockyard_path
